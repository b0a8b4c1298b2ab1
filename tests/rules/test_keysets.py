"""When may a keyset be used: each check before a use, and each edge of its times."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gateway.rules.keyset import Delivery, Keyset, KeysetStatus, why_unusable

NOW = datetime(2030, 6, 1, 12, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)


def keyset_of(
    status: KeysetStatus,
    *,
    valid_until: datetime = NOW + timedelta(days=1),
    lapses_at: datetime | None = None,
) -> Keyset:
    return Keyset(
        id="ks_1",
        application_id="app_1",
        user_id="anna",
        status=status,
        delivery=Delivery.QR,
        khmac="a",
        kauth="b",
        kpublic=None,
        spki=None,
        fingerprint=b"",
        device_id=None,
        step_seconds=180,
        digits=8,
        flags=0,
        salt=b"",
        package_sha256=b"",
        created_at=NOW,
        valid_until=valid_until,
        lapses_at=lapses_at,
        registered_at=None,
        ended_at=None,
        code_given_at=None,
        binding=b"",
    )


# status, registering, the policy requires Kpublic -> why it cannot be used
USES = [
    ("issued", False, False, None),
    ("issued", False, True, "keyset is not registered"),
    ("issued", True, False, None),
    ("issued", True, True, None),
    ("active", False, False, None),
    ("active", False, True, None),
    ("active", True, False, None),
    ("active", True, True, None),
    *(
        (status, registering, required, f"keyset is {status}")
        for status in ("deleted", "void", "lapsed", "unreadable")
        for registering in (False, True)
        for required in (False, True)
    ),
]


def test_the_table_of_uses_is_complete():
    assert len({use[:3] for use in USES}) == len(USES) == len(KeysetStatus) * 4


@pytest.mark.parametrize(("status", "registering", "required", "why"), USES)
def test_a_keyset_is_used_only_as_the_table_says(
    *, status: str, registering: bool, required: bool, why: str | None
):
    keyset = keyset_of(KeysetStatus(status))
    assert why_unusable(keyset, NOW, registering=registering, kpublic_required=required) == why


def test_the_end_of_validity_is_checked_before_the_state():
    keyset = keyset_of(KeysetStatus.DELETED, valid_until=NOW)
    assert why_unusable(keyset, NOW, registering=False, kpublic_required=True) == "keyset has expired"


@pytest.mark.parametrize("required", [False, True])
def test_renewed_keys_are_registered_before_they_are_used_whatever_the_policy_says(*, required: bool):
    renewed = replace(keyset_of(KeysetStatus.ISSUED), renews="ks_0")
    used = {
        registering: why_unusable(renewed, NOW, registering=registering, kpublic_required=required)
        for registering in (False, True)
    }
    assert used == {False: "keyset is not registered", True: None}


@pytest.mark.parametrize(("left", "why"), [(INSTANT, None), (timedelta(0), "keyset has expired")])
@pytest.mark.parametrize("status", [KeysetStatus.ISSUED, KeysetStatus.ACTIVE])
def test_a_keyset_expires_at_its_very_end(status: KeysetStatus, left: timedelta, why: str | None):
    keyset = keyset_of(status, valid_until=NOW + left)
    assert why_unusable(keyset, NOW, registering=True, kpublic_required=True) == why


@pytest.mark.parametrize(("left", "why"), [(INSTANT, None), (timedelta(0), "keyset has lapsed")])
def test_an_issued_keyset_lapses_at_its_very_end(left: timedelta, why: str | None):
    keyset = keyset_of(KeysetStatus.ISSUED, lapses_at=NOW + left)
    assert why_unusable(keyset, NOW, registering=True, kpublic_required=True) == why


def test_a_registered_keyset_never_lapses():
    keyset = keyset_of(KeysetStatus.ACTIVE, lapses_at=NOW - timedelta(days=1))
    assert why_unusable(keyset, NOW, registering=False, kpublic_required=True) is None
