"""Do several tokens hold the same: the gateway's own keys, and those of its users?"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway import assembly
from gateway.refusals import Outage
from gateway.scenarios import house_values
from gateway.settings import Settings
from gateway.store import schema
from gateway.store.schema import SchemaBehind
from hsm.any_device import AnyDevice
from hsm.doctor.findings import Finding
from hsm.errors import DeviceError

_SHOWN = 10  # keys of each token in the table; JSON has them all


@dataclass(frozen=True, slots=True, kw_only=True)
class Alike:
    """What several tokens do not have in common; users' keys by the number of the token that lacks them."""

    house: tuple[str, ...]
    lacking: Mapping[int, tuple[str, ...]]

    @property
    def is_alike(self) -> bool:
        """Whether they hold the same."""
        return not self.house and not any(self.lacking.values())

    def to_json(self) -> dict[str, Any]:
        """Return it in the documented shape."""
        lacking = [{"token": number, "keys": list(keys)} for number, keys in self.lacking.items()]
        return {"house_keys": list(self.house), "user_keys_lacking": lacking}

    def lines(self) -> Iterable[str]:
        """Return it for people."""
        yield f"keys of the gateway: {'the same on every token' if not self.house else ''}".rstrip()
        yield from (f"  {line}" for line in self.house)
        for number, keys in self.lacking.items():
            yield f"keys of users that another token has and token {number} has not: {len(keys)}"
            yield from (f"  {key}" for key in keys[:_SHOWN])


def compare_tokens(settings: Settings, found: Sequence[Iterable[Finding]]) -> Alike:
    """Compare what the doctor found on each token, and have each prove the gateway's own keys."""
    inventories = [next((each for each in findings if each.trial == "inventory"), None) for findings in found]
    held = {
        number: set(each.figures["user_keys"])
        for number, each in enumerate(inventories, 1)
        if each is not None and "user_keys" in each.figures  # else it could not be read, and that is said
    }
    every = set().union(*held.values())
    lacking = {number: tuple(sorted(every - keys)) for number, keys in held.items()}
    return Alike(house=tuple(_house(settings)), lacking=lacking)


def _house(settings: Settings) -> list[str]:
    try:
        device = assembly.open_device(settings)
    except DeviceError as error:
        return [str(error)]
    try:
        _expect(settings, device)
        assembly.find_house_keys(device)
        return assembly.compared(device)
    except DeviceError as error:
        return [str(error)]
    finally:
        device.close()


def _expect(settings: Settings, device: AnyDevice) -> None:
    """Have them compared with what the database knows, if there is one that can be asked."""
    if not settings.database_url and not (settings.data_dir / "countersign.db").exists():
        return
    database = assembly.open_database(settings)
    try:
        schema.require_current(database)
        house_values.expect_noted(device, database)
    except (Outage, SchemaBehind):
        return  # another line says so
    finally:
        database.close()
