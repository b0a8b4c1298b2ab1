"""Fixtures of the scenarios' tests: a bench on a token of the module's own and a database of the test's own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway import assembly
from hsm.device import Device
from tests.scenarios.bench import Bench, opened_bench
from tests.store.databases import KINDS, migrated_database


@pytest.fixture(scope="module")
def own_device_uri(new_token: Callable[[], str]) -> str:
    """The URI of a token that only this module's tests write to."""
    return new_token()


@pytest.fixture(scope="module")
def own_device(own_device_uri: str) -> Iterator[Device]:
    """A device on the module's token."""
    opened = Device.open(own_device_uri, wait_seconds=30)
    assembly.create_house_keys(opened)
    yield opened
    opened.close()


@pytest.fixture
def bench(tmp_path: Path, own_device: Device) -> Iterator[Bench]:
    """A bench on SQLite."""
    with migrated_database("sqlite", tmp_path) as database, opened_bench(database, own_device) as made:
        yield made


@pytest.fixture(params=KINDS)
def any_bench(request: pytest.FixtureRequest, tmp_path: Path, own_device: Device) -> Iterator[Bench]:
    """A bench on each kind of database, for what is decided by the database."""
    with migrated_database(request.param, tmp_path) as database, opened_bench(database, own_device) as made:
        yield made
