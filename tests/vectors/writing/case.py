"""What is one case of a vector file: a value with its bytes, or bytes with the reason for their refusal?"""

from collections.abc import Callable, Iterable
from typing import Any

from gateway.wire.errors import WireError

Case = dict[str, Any]


def valid(kind: str, name: str, **values: object) -> Case:
    """A case in which everything fits together."""
    return {"kind": kind, "name": name, "valid": True, **values}


def refused(kind: str, name: str, reason: str, read: Callable[[], object], **values: object) -> Case:
    """A case that has to be refused, and is: a vector that the gateway itself accepts is never written."""
    try:
        read()
    except WireError as error:
        if error.reason != reason:
            raise AssertionError(f"{kind} {name}: {error.reason} instead of {reason}") from error
        return {"kind": kind, "name": name, "valid": False, "reason": reason, **values}
    raise AssertionError(f"{kind} {name}: not refused")


def hexes(tags: Iterable[int]) -> list[str]:
    """Tags as the reference writes them."""
    return [f"{tag:02X}" for tag in tags]
