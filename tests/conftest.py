"""Fixtures for everybody: real tokens of SoftHSM, and a device on one of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

from hsm.device import Device
from tests import order, tokens

# As by default, but for tracebacks: drawn in colours with all local variables, one of them takes seconds.
structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        structlog.dev.set_exc_info,
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)

# The same examples in each run, and no limit of time for one: that a process stood still for a moment is no fault.
settings.register_profile(
    "house", derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("house")


@pytest.hookimpl(trylast=True)  # when pytest itself has sorted them by what they share
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the files in an order of our own."""
    order.sort(items)


@pytest.fixture
def logs_put_back() -> Iterator[None]:
    """For a test in which the logs are configured as in a gateway: the tests after it share its process."""
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    structlog.configure(**before)
    root.handlers = handlers
    root.setLevel(level)


@pytest.fixture(scope="session")
def token_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory in which this test process keeps its tokens and PIN files."""
    directory = tmp_path_factory.mktemp("softhsm")
    tokens.configure(directory)
    return directory


@pytest.fixture(scope="session")
def new_token(token_directory: Path) -> Callable[[], str]:
    """Makes empty tokens; each call returns the URI of a new one."""
    return lambda: tokens.create_token(token_directory)


@pytest.fixture
def token_uri(new_token: Callable[[], str]) -> str:
    """The URI of a fresh token that holds no key."""
    return new_token()


@pytest.fixture(scope="session")
def device_uri(new_token: Callable[[], str]) -> str:
    """The URI of the token under `device`, for programs that open it themselves."""
    return new_token()


@pytest.fixture(scope="session")
def device(device_uri: str) -> Iterator[Device]:
    """A device with all house keys in version 1, shared by the tests of this process."""
    opened = Device.open(device_uri, wait_seconds=30)
    for name in tokens.HOUSE_KEYS:
        opened.create_house_key(name)
    opened.create_house_pair(tokens.HOUSE_PAIR)
    opened.create_master()  # else each gateway on it would look for a hundred versions that may be retired
    yield opened
    opened.close()
