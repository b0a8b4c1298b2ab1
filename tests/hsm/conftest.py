"""Fixtures of the device's own tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hsm import module
from hsm.device import Device
from tests.hsm import misbehaving
from tests.hsm.programs import Program, run
from tests.hsm.remote import CLIENT, Remote
from tests.hsm.test_remote import wait_until
from tests.hsm.twins import Pair, opened, served_copy
from tests.tokens import MODULE


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


@pytest.fixture
def remote(token_directory: Path, token_uri: str) -> Iterator[Remote]:
    """A fresh token behind a server, as a network HSM; it can be lost, stopped and cut off."""
    served = Remote(token_directory, token_uri)
    served.start()
    client = module.load(CLIENT)
    with client.lock.exclusive(10):
        client.reinitialize()  # it still knows the server of an earlier test
        client.reinitialized.clear()
    yield served
    served.stop()


@pytest.fixture(scope="session")
def shim_module(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of a module over SoftHSM that misbehaves as it is told, for programs."""
    return str(misbehaving.build(tmp_path_factory.mktemp("shim"), MODULE))


@pytest.fixture
def misbehaving_program(token_uri: str, shim_module: str) -> Callable[[str], Program]:
    """As `program`, on that module; `shim` in it gives the orders."""
    preamble = "from tests.hsm.misbehaving import ALWAYS, Shim\nshim = Shim()\nshim.forget()\n"
    return lambda source: run(preamble + source, token_uri.replace(MODULE, shim_module))


@pytest.fixture
def near(token_uri: str) -> Iterator[Device]:
    """A device on a token with some of the gateway's own keys."""
    with closing(Device.open(token_uri, sessions=4)) as opened:
        opened.create_house_key("binding")
        opened.create_house_key("webhook")
        opened.create_house_pair("receipt")
        yield opened


@pytest.fixture
def first(near: Device, token_uri: str, token_directory: Path, tmp_path: Path) -> Iterator[Remote]:
    """Its twin, behind a server."""
    served = served_copy(token_uri, tmp_path, token_directory)
    yield served
    served.stop()


@pytest.fixture
def pair(first: Remote, near: Device, token_uri: str) -> Iterator[Pair]:
    """Both, open and the same."""
    with closing(opened(first, token_uri)) as tokens:
        both = Pair(first, near, tokens)
        wait_until(lambda: both.serving == 1)
        assert [each.differences for each in tokens.standings()] == [(), ()]
        yield both
