"""How does a frozen record become the values of a row? Without the deep copies of ``dataclasses.asdict``."""

from collections.abc import Callable
from dataclasses import fields
from operator import attrgetter
from typing import Any


def row_of(record: type[Any]) -> Callable[[Any], dict[str, Any]]:
    """Return the function that gives the fields of such a record, of two or more, by their names."""
    names = tuple(field.name for field in fields(record))
    values = attrgetter(*names)
    return lambda each: dict(zip(names, values(each), strict=True))
