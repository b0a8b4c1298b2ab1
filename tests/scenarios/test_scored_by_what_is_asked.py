"""Is a phone held to the device data that it was asked for, by the policy as it is for its user?"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.scenarios import user_settings
from hsm.device import Device
from tests.scenarios.bench import ORIGIN, Bench, run
from tests.scenarios.scored_phones import PHONE, approved, enrol, factors, scored_bench

MISSING = "device_data_missing"


@pytest.fixture
def bench(tmp_path: Path, own_device: Device) -> Iterator[Bench]:
    """A bench whose policy asks every phone for its model and system."""
    with scored_bench("sqlite", tmp_path, own_device, {}) as made:
        yield made


@pytest.mark.parametrize(
    ("settings", "told", "missing"),
    [
        ({}, ("model", "os"), False),
        ({}, ("model",), True),
        ({"device_fields": 1}, ("model",), False),
        ({"device_fields": 7}, ("model", "os"), True),
        ({"collect_device_data": False}, (), False),
    ],
    ids=str,
)
def test_what_a_phone_was_not_asked_for_does_not_speak_against_its_user(
    bench: Bench, *, settings: dict[str, object], told: tuple[str, ...], missing: bool
):
    phone = enrol(bench)
    run(user_settings.put_settings(bench.ctx, bench.asker, "anna", settings, ORIGIN))
    phone.device = {name: PHONE[name] for name in ("uv", *told)}
    assert (MISSING in factors(approved(bench, phone))) is missing
