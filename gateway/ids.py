"""Which name does a new record get: prefixed UUIDv7, so that ids sort by time of creation."""

import secrets
from datetime import datetime

_RANDOM_BITS = 74
_LOW_BITS = 62


def new_id(prefix: str, now: datetime) -> str:
    """Make an id such as ``txn_0192...``: prefix, underscore, 32 hexadecimal digits of a UUIDv7.

    Args:
        prefix: short lower-case name of the record's kind, e.g. ``txn``.
        now: the moment of creation, aware; its milliseconds lead the id (RFC 9562 section 5.7).
    """
    milliseconds = int(now.timestamp() * 1000)
    noise = secrets.randbits(_RANDOM_BITS)
    high, low = noise >> _LOW_BITS, noise & ((1 << _LOW_BITS) - 1)
    value = (milliseconds << 80) | (0x7 << 76) | (high << 64) | (0b10 << 62) | low
    return f"{prefix}_{value:032x}"
