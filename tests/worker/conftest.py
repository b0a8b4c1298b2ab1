"""Fixtures of the worker's tests: a bench with a callback address, and how callbacks are posted."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from gateway.worker.posting import Post
from hsm.device import Device
from tests.gateways import Authority
from tests.scenarios.bench import Bench, opened_bench
from tests.store.databases import migrated_database

UseBench = Callable[[str], AbstractContextManager[Bench]]


@pytest.fixture
def bench_for(tmp_path: Path, device: Device) -> Iterator[UseBench]:
    """Makes a bench whose application has this callback address."""
    with migrated_database("sqlite", tmp_path) as database:
        yield lambda url: opened_bench(database, device, callback_url=url)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The CA that the worker trusts."""
    return Authority.make(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def post(authority: Authority) -> Post:
    """How the tests post: to private addresses, as patiently as a busy machine asks for, trusting the authority."""
    return Post(
        tls=ssl.create_default_context(cafile=str(authority.ca_file)), private_addresses=True, seconds_most=20
    )
