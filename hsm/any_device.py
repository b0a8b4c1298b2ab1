"""What can be asked of one token and of several alike, although they keep it differently?"""

from __future__ import annotations

from collections.abc import Iterable

from hsm.device import Device
from hsm.housecheck import HouseName, check_value
from hsm.standing import Standing
from hsm.tokens import Tokens

AnyDevice = Device | Tokens


def check_values(device: AnyDevice, keys: Iterable[HouseName]) -> dict[HouseName, bytes]:
    """Return by what these keys prove themselves. Raises as `Device.house_key` and `Device.mac` do."""
    if not isinstance(device, Tokens):
        return {key: check_value(device, key, {}) for key in keys}
    known = device.checks()
    return {key: known[key] for key in keys if key in known}  # whoever asks for a key has it learned


def standings_of(device: AnyDevice) -> list[Standing]:
    """Return what there is to tell of each token, also if there is one alone."""
    if isinstance(device, Tokens):
        return device.standings()
    shot = device.snapshot()
    return [Standing(number=1, label="", state=shot.state, serves=True, shot=shot)]


def takeovers_of(device: AnyDevice) -> int:
    """Return how often another token than before began to serve."""
    return device.takeovers if isinstance(device, Tokens) else 0
