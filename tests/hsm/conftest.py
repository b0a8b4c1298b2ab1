"""Fixtures of the device's own tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from hsm.device import Device
from tests.hsm.programs import Program, run


@pytest.fixture
def own_device(token_uri: str) -> Iterator[Device]:
    """A device on a token of its own, with one house key, that a test may maltreat."""
    opened = Device.open(token_uri, sessions=4, wait_seconds=10)
    opened.create_house_key("binding")
    yield opened
    opened.close()


@pytest.fixture
def program(token_uri: str) -> Callable[[str], Program]:
    """Runs Python source in a process of its own, which may crash; `URI` in it is that of a fresh token."""
    return lambda source: run(source, token_uri)
