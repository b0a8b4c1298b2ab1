"""Which keysets give way to new ones, and when is there no room for another device?"""

from dataclasses import replace
from datetime import timedelta

import pytest

from gateway.refusals import Refusal
from gateway.rules.device import giving_way
from gateway.rules.keyset import Keyset, KeysetStatus
from tests.rules.test_keysets import NOW, keyset_of


def _keyset(name: str, device: str, status: KeysetStatus = KeysetStatus.ACTIVE) -> Keyset:
    return replace(keyset_of(status), id=name, device_id=device)


PHONE, TABLET = _keyset("ks_phone", "phone"), _keyset("ks_tablet", "tablet")
RENEWED = _keyset("ks_renewed", "phone", KeysetStatus.ISSUED)
ENDED = _keyset("ks_ended", "old", KeysetStatus.DELETED)
LAPSED = replace(_keyset("ks_late", "late", KeysetStatus.ISSUED), lapses_at=NOW)
WAITING = replace(_keyset("ks_waiting", "next", KeysetStatus.ISSUED), lapses_at=NOW + timedelta(seconds=1))
EXPIRED = replace(_keyset("ks_expired", "expired"), valid_until=NOW)
FULL = "devices_full"

# what the user has, the device that is named, how many are allowed -> the keysets that end, or the refusal
CASES: list[tuple[list[Keyset], str | None, int, list[str] | str]] = [
    ([], None, 1, []),
    ([PHONE], None, 1, ["ks_phone"]),
    ([PHONE, RENEWED, ENDED], None, 1, ["ks_phone", "ks_renewed"]),
    ([PHONE, TABLET], None, 1, ["ks_phone", "ks_tablet"]),  # two were allowed once
    ([LAPSED], None, 1, ["ks_late"]),
    ([PHONE], "phone", 1, ["ks_phone"]),
    ([PHONE], "tablet", 1, FULL),
    ([PHONE, TABLET], "phone", 1, ["ks_phone"]),
    ([LAPSED], "tablet", 1, []),
    ([PHONE, ENDED], None, 2, []),
    ([PHONE, RENEWED], None, 2, []),
    ([PHONE, TABLET], None, 2, FULL),
    ([PHONE, WAITING], None, 2, FULL),
    ([PHONE, LAPSED], None, 2, []),
    ([PHONE, EXPIRED], None, 2, FULL),
    ([PHONE, TABLET, RENEWED], "phone", 2, ["ks_phone", "ks_renewed"]),
    ([PHONE, WAITING], "next", 2, ["ks_waiting"]),
    ([PHONE, ENDED], "old", 2, []),
    ([PHONE, TABLET, ENDED], "old", 2, FULL),
    ([PHONE, TABLET, WAITING], None, 10, []),
]


@pytest.mark.parametrize(("present", "named", "most", "outcome"), CASES)
def test_keys_give_way_as_the_table_says(
    present: list[Keyset], named: str | None, most: int, outcome: list[str] | str
):
    if isinstance(outcome, list):
        assert [keyset.id for keyset in giving_way(present, named, most, NOW)] == outcome
        return
    with pytest.raises(Refusal) as refused:
        giving_way(present, named, most, NOW)
    assert refused.value.problem.code == outcome


def test_the_refusal_names_the_devices_that_have_keys():
    with pytest.raises(Refusal) as refused:
        giving_way([TABLET, PHONE, ENDED], None, 2, NOW)
    assert refused.value.detail == "The policy allows 2. These have keys: phone, tablet."
