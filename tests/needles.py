"""In which forms could a secret be written down, and does it stand anywhere in a heap of bytes?

A form is what stays the same wherever the secret stands: of base64 the signs that its neighbours do not change, at
each of the three places where it can begin.
"""

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

SHORTEST = 8  # bytes; what is shorter is found by chance
Heaps = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Needle:
    """One secret: what it is, and its bytes."""

    name: str
    raw: bytes

    @classmethod
    def of_text(cls, name: str, text: str) -> "Needle":
        """A secret that is written as text."""
        return cls(name, text.encode())

    def forms(self) -> dict[str, bytes]:
        """The secret in each form, by the form's name."""
        assert len(self.raw) >= SHORTEST, self.name
        found = {
            "as it is": self.raw,
            "hex": self.raw.hex().encode(),
            "HEX": self.raw.hex().upper().encode(),
            "hex with colons": self.raw.hex(":").encode(),
            "escaped": repr(self.raw)[2:-1].encode(),
            "numbers": json.dumps(list(self.raw))[1:-1].encode(),
        }
        if self.raw.isalpha() or self.raw.isalnum():
            found |= {"small letters": self.raw.lower(), "capitals": self.raw.upper()}
        for name, encode in (("base64", base64.b64encode), ("base64url", base64.urlsafe_b64encode)):
            found |= {f"{name} at {place}": _within(self.raw, place, encode) for place in range(3)}
        return found


def _within(raw: bytes, place: int, encode: Callable[[bytes], bytes]) -> bytes:
    """The signs of base64 that depend on `raw` alone when `place` other bytes stand before it."""
    begin = -(-place * 8 // 6)
    end = (place + len(raw)) * 8 // 6
    return encode(bytes(place) + raw)[begin:end]


def search(heaps: Heaps, needles: Iterable[Needle]) -> list[str]:
    """Say of every needle that is found what it is, in which form and where."""
    return [
        f"{needle.name}, {form}, in {where}"
        for needle in needles
        for form, sign in needle.forms().items()
        for where, heap in heaps.items()
        if sign in heap
    ]
