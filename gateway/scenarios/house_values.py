"""By which values are several tokens compared, and where are they kept? In the database, which knows whose it is.

So it does not matter which of them is there first: each proves by itself that it is one of this gateway's.
"""

from contextlib import suppress

from gateway.refusals import Outage
from gateway.scenarios.context import BINDING, HOUSE_KEYS, HOUSE_PAIR, MASTER, HouseKeys
from gateway.store import house_keys
from gateway.store.database import Database
from hsm.any_device import AnyDevice, check_values
from hsm.housecheck import HouseName
from hsm.tokens import Tokens


def expect_noted(device: AnyDevice, database: Database) -> None:
    """Have each of several tokens prove the keys that the database knows, before it serves."""
    if isinstance(device, Tokens):
        with database.reading() as connection:
            noted = house_keys.noted_house_keys(connection)
        device.expect({_name(*version): value for version, value in noted.items()})


def learn_noted(device: AnyDevice, database: Database) -> None:
    """Have several tokens prove what was noted since, by a rotation elsewhere; an older version stays as it is.

    It was on every token when it was noted, so it is used although one is away now. Raises hsm.errors.DeviceError.
    """
    if not isinstance(device, Tokens):
        return
    noted: dict[house_keys.Version, bytes] = {}
    with suppress(Outage), database.reading() as connection:
        noted = house_keys.noted_house_keys(connection)
    known = device.checks()
    new = {key: value for version, value in noted.items() if (key := _name(*version)) not in known}
    if new:
        device.expect(new)


def values_of(device: AnyDevice, keys: HouseKeys) -> dict[house_keys.Version, bytes]:
    """Return the values of all keys that are known. Talks to the device."""
    found = check_values(device, [_name(*version) for version in _versions(keys)])
    return {(key.name, key.version): value for key, value in found.items()}


def _versions(keys: HouseKeys) -> list[house_keys.Version]:
    found = [(name, 1) for name in HOUSE_KEYS if name != BINDING]
    found += [(BINDING, number) for number in keys.binding.numbers]
    found += [(MASTER, number) for number in (keys.master.numbers if keys.master else ())]
    return [*found, *((HOUSE_PAIR, key.version) for key in keys.receipts.known)]


def _name(name: str, version: int) -> HouseName:
    return HouseName(name, version, is_pair=name == HOUSE_PAIR)
