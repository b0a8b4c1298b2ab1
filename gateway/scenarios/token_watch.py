"""What changed among several tokens since the last look, and who is told of it? The log, once for each change.

A token with other keys of the gateway than the others is an alarm, and so is a key of a user that only one of them has.
"""

from typing import Any

import structlog

from hsm.any_device import AnyDevice, standings_of
from hsm.standing import Standing
from hsm.tokens import Tokens

_log = structlog.get_logger("gateway")


class TokenWatch:
    """Compares the tokens with each other, and with how they were at the last look."""

    def __init__(self, device: AnyDevice) -> None:
        self._device = device
        self._told: dict[int, tuple[str, tuple[str, ...], tuple[str, ...], int]] = {}
        self._serving = 0

    def look(self) -> None:
        """Have the tokens compared, and tell what is new. Talks to the device; a token alone has nothing to tell."""
        if not isinstance(self._device, Tokens):
            return
        self._device.compare()
        found = standings_of(self._device)
        for each in found:
            self._tell(each)
        serving = next((each.number for each in found if each.serves), 0)
        if serving != self._serving:
            self._tell_who_serves(serving)

    def _tell_who_serves(self, serving: int) -> None:
        if serving == 1 and not self._serving:
            pass  # as it should be, from the start
        elif serving:
            level = _log.info if serving == 1 else _log.warning
            level("a token serves", token=serving, before=self._serving or None)
        else:
            _log.error("no token may serve")
        self._serving = serving

    def _tell(self, each: Standing) -> None:
        state, differences, awaited, strays = self._told.get(each.number, ("well", (), (), 0))
        if each.state != state:
            level = _log.info if each.state == "well" else _log.error
            level("a token is " + each.state, token=each.number, label=each.label, why=each.why or None)
        if each.differences != differences:
            self._tell_differences(each)
        if each.awaited != awaited and each.awaited:
            _log.warning("new keys have to be brought to a token", token=each.number, keys=list(each.awaited))
        if each.strays > strays:
            more = each.strays - strays
            _log.critical(
                "keys of users are on another token and not on this one", token=each.number, times=more
            )
        self._told[each.number] = (each.state, each.differences, each.awaited, each.strays)

    def _tell_differences(self, each: Standing) -> None:
        if each.differences:
            said = list(each.differences)
            _log.critical(
                "a token has other keys of the gateway and may not serve", token=each.number, keys=said
            )
        else:
            _log.info("a token has the keys of the gateway", token=each.number)


def shown(device: AnyDevice) -> list[dict[str, Any]]:
    """Return how each of several tokens is, as values of JSON; nothing of one alone."""
    if not isinstance(device, Tokens):
        return []
    return [
        {
            "token": each.number,
            "state": each.state,
            "serves": each.serves,
            "differences": list(each.differences),
            "awaited": list(each.awaited),
            "strays": each.strays,
        }
        for each in standings_of(device)
    ]
