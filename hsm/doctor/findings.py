"""What did a trial find, in a form that a process can hand to another one?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from hsm.doctor.catalogue import TRIALS


class Result(StrEnum):
    """How a trial ended."""

    WORKS = "works"
    RESTRICTED = "restricted"  # it works, with something weaker or missing that the remark names
    FAILS = "fails"
    UNKNOWN = "unknown"  # it could not be tried, or the module does not tell


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the table. `figures` are values of JSON by name; no PIN, key or attribute value is among them."""

    trial: str
    result: Result
    remark: str = ""
    figures: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if self.trial not in TRIALS:
            raise ValueError(f"no such trial: {self.trial}")

    def to_json(self) -> dict[str, Any]:
        """Return it as values of JSON."""
        return {
            "trial": self.trial,
            "result": str(self.result),
            "remark": self.remark,
            "figures": dict(self.figures),
        }

    @classmethod
    def from_json(cls, line: str | bytes) -> Finding:
        """Read what `to_json` gave."""
        read = json.loads(line)
        return cls(
            trial=read["trial"], result=Result(read["result"]), remark=read["remark"], figures=read["figures"]
        )
