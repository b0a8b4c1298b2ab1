"""Does preparing a gateway leave one working token for one database, however often and by how many it is asked for?"""

import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hsm import templates, wrapping
from hsm.device import Device
from tests.gateways import Authority, Gateway, fresh_database
from tests.journeys.stage import DATABASES

# Each starts every command there is; on PostgreSQL, where nothing of it is different, with the long tests.
ONE_COMMAND_AFTER_THE_OTHER = [
    kind if kind == "sqlite" else pytest.param(kind, marks=pytest.mark.long) for kind in DATABASES
]

ALL_WELL = {
    "database": "ok",
    "token": "ok",
    "push": "not set up: no phone is woken by this process",
    "certificate": "ok",
    "client_ca": "ok",
}


@pytest.fixture(params=DATABASES)
def gateway(
    request: pytest.FixtureRequest, tmp_path: Path, new_token: Callable[[], str]
) -> Iterator[Gateway]:
    """A gateway with an empty token and an empty database."""
    with fresh_database(request.param) as url:
        yield Gateway(tmp_path, new_token(), Authority.make(tmp_path), url)


def _with_token(gateway: Gateway, token_uri: str) -> Gateway:
    return Gateway(gateway.folder, token_uri, gateway.authority, gateway.database_url)


def _keys(token_uri: str) -> list[str]:
    device = Device.open(token_uri)
    try:
        return [label for _, label in device._sweep()]
    finally:
        device.close()


def _checked(gateway: Gateway) -> dict[str, str]:
    shown = gateway.run("check", "--json", check=False)
    found = dict(json.loads(shown.stdout)["checks"])
    assert (shown.returncode == 0) == (found == ALL_WELL)
    return found


def _at_once(*commands: tuple[Gateway, Sequence[str]]) -> list[subprocess.CompletedProcess[str]]:
    with ThreadPoolExecutor(len(commands)) as pool:
        running = [pool.submit(gateway.run, *words, check=False) for gateway, words in commands]
    return [each.result() for each in running]


def test_four_processes_may_prepare_one_gateway_at_once(gateway: Gateway) -> None:
    ended = _at_once(*[(gateway, ["init"])] * 4)
    assert [each.returncode for each in ended] == [0] * 4, ended
    told = [each.stdout for each in ended]
    assert sum("token: made binding" in text for text in told) == 1
    assert sum("every key of the gateway was there" in text for text in told) == 3
    labels = _keys(gateway.token_uri)
    assert len(labels) == len(set(labels)) + 1  # the pair has one label for both of its keys
    assert _checked(gateway) == ALL_WELL


def test_two_databases_may_be_prepared_on_one_token_at_once(gateway: Gateway, tmp_path: Path) -> None:
    other = Gateway(tmp_path / "other", gateway.token_uri, gateway.authority)
    other.folder.mkdir()
    ended = _at_once((gateway, ["init"]), (other, ["init"]))
    assert [each.returncode for each in ended] == [0, 0], ended
    for each in (gateway, other):
        assert _checked(each) == ALL_WELL


@pytest.mark.parametrize("gateway", ONE_COMMAND_AFTER_THE_OTHER, indirect=True)
def test_a_key_that_is_on_the_token_twice_is_named_by_every_command(gateway: Gateway) -> None:
    gateway.run("init")
    device = Device.open(gateway.token_uri)
    template = templates.hmac_key(
        bytes(16), "countersign-decoy-1", stored=True, extractable=False, modifiable=False
    )
    device._guard.change(lambda _, session: wrapping.generate(session, template))
    device.close()
    commands = (["init"], ["serve"], ["serve", "client"], ["work"])
    # At once, for each looks for two seconds whether the double goes; with ports of its own.
    for refused in _at_once(*((_with_token(gateway, gateway.token_uri), words) for words in commands)):
        assert refused.returncode == 1
        assert "more than one key 'countersign-decoy-1'" in refused.stderr
        assert "backup" in refused.stderr


def test_preparing_again_changes_nothing(gateway: Gateway) -> None:
    gateway.run("init")
    before = sorted(_keys(gateway.token_uri))
    assert "every key of the gateway was there" in gateway.run("init").stdout
    assert sorted(_keys(gateway.token_uri)) == before


def test_a_key_that_is_missing_is_made_on_the_token_of_the_database(gateway: Gateway) -> None:
    device = Device.open(gateway.token_uri)
    device.create_house_pair("receipt")
    device.create_house_key("binding")
    device.close()
    assert "token: made webhook, activation, credential, decoy" in gateway.run("init").stdout.replace(
        "\n", " "
    )
    assert _checked(gateway) == ALL_WELL


def test_an_empty_token_is_refused_for_the_database_of_another_and_nothing_is_made_on_it(
    gateway: Gateway, new_token: Callable[[], str]
) -> None:
    gateway.run("init")
    other = _with_token(gateway, new_token())
    refused = other.run("init", check=False)
    assert refused.returncode == 1
    assert refused.stderr.startswith("countersign: The database belongs to another token")
    assert "COUNTERSIGN_TOKEN_URI" in refused.stderr
    assert _keys(other.token_uri) == []


@pytest.mark.parametrize("gateway", ONE_COMMAND_AFTER_THE_OTHER, indirect=True)
def test_the_token_of_another_database_is_refused_by_every_command(
    gateway: Gateway, new_token: Callable[[], str], tmp_path: Path
) -> None:
    gateway.run("init")
    other = Gateway(tmp_path / "other", new_token(), gateway.authority)
    other.folder.mkdir()
    other.run("init")
    for words in (["init"], ["serve"], ["serve", "client"], ["application", "add", "x"]):
        refused = _with_token(gateway, other.token_uri).run(*words, check=False)
        assert refused.returncode == 1
        lines = [line for line in refused.stderr.splitlines() if line.startswith("countersign: ")]
        assert len(lines) == 1, refused.stderr
        assert "belongs to another token" in lines[0]
    checked = _checked(_with_token(gateway, other.token_uri))
    assert checked["database"] == "ok"
    assert "belongs to another token" in checked["token"]


def test_a_database_that_was_only_migrated_is_not_served(gateway: Gateway) -> None:
    gateway.run("migrate")
    device = Device.open(gateway.token_uri)
    for name in ("binding", "webhook", "activation", "credential", "decoy"):
        device.create_house_key(name)
    device.create_master()
    device.create_house_pair("receipt")
    device.close()
    refused = gateway.run("work", check=False)
    assert refused.returncode == 1
    assert "countersign init" in refused.stderr
