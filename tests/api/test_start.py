"""Does a gateway that cannot start say in one line what is wrong and how to mend it, and end with status 1?"""

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests import tokens
from tests.forking import run_forked
from tests.gateways import Authority, Gateway, free_port, fresh_database
from tests.journeys.stage import DATABASES

Change = Callable[[Gateway], None]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, new_token: Callable[[], str]) -> Iterator[Gateway]:
    """A gateway that could start; on one database, for hardly anything of this depends on it."""
    folder = tmp_path_factory.mktemp("start")
    with fresh_database(DATABASES[-1]) as url:
        gateway = Gateway(folder, new_token(), Authority.make(folder), url)
        gateway.run("init")
        yield gateway


@pytest.fixture
def gateway(prepared: Gateway) -> Gateway:
    """The same with settings of its own."""
    return Gateway(
        prepared.folder, prepared.token_uri, prepared.authority, prepared.database_url, dict(prepared.extra)
    )


def _failure(gateway: Gateway, *words: str, without: Sequence[str] = (), status: int = 1) -> str:
    """Start it, expect it to end with the status, and return the one line it leaves."""
    left_out = {f"COUNTERSIGN_{name}" for name in without}
    environment = {name: value for name, value in gateway.environment.items() if name not in left_out}
    done = run_forked(words or ("serve",), environment)
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("countersign: ")]
    assert len(lines) == 1, done.stderr
    return lines[0]


def _set(**values: str) -> Change:
    return lambda gateway: gateway.extra.update(
        {f"COUNTERSIGN_{name}": text for name, text in values.items()}
    )


def _uri(old: str, new: str) -> Change:
    return lambda gateway: gateway.extra.update(
        {"COUNTERSIGN_TOKEN_URI": gateway.token_uri.replace(old, new)}
    )


FAULTS: dict[str, tuple[Change, list[str]]] = {
    "module missing": (_uri(tokens.MODULE, "/nowhere/module.so"), ["/nowhere/module.so"]),
    "module that is no library": (_uri(tokens.MODULE, "/etc/passwd"), ["/etc/passwd"]),
    "configuration of the module missing": (
        lambda gateway: gateway.extra.update(SOFTHSM2_CONF="/nowhere/softhsm2.conf"),
        ["cannot be loaded: GeneralError, 0x5", "configuration file"],
    ),
    "token missing": (_uri("token=test", "token=nobody"), ["nobody"]),
    "no token named": (_set(TOKEN_URI=""), ["COUNTERSIGN_TOKEN_URI"]),
    "token address that cannot be read": (_set(TOKEN_URI="softhsm"), ["URI"]),
    "PIN in the address": (_uri("pin-source=", "pin-value=1234&x-pin="), ["pin"]),
    "PIN file missing": (_uri("pin-source=file:/", "pin-source=file:/nowhere/"), ["PIN"]),
    "unknown setting": (_set(LOG_LEVL="info"), ["COUNTERSIGN_LOG_LEVL", "COUNTERSIGN_LOG_LEVEL"]),
    "value out of bounds": (_set(WORKERS="0"), ["COUNTERSIGN_WORKERS"]),
    "password in the address": (
        _set(DATABASE_URL="postgresql+psycopg://user:hunter2@localhost/x"),
        ["COUNTERSIGN_DATABASE_PASSWORD_FILE"],
    ),
    "certificate missing": (
        _set(TLS_CERTIFICATE_FILE="/nowhere/chain.pem"),
        ["COUNTERSIGN_TLS_CERTIFICATE_FILE"],
    ),
    "key of the certificate missing": (_set(TLS_KEY_FILE="/nowhere/key.pem"), ["COUNTERSIGN_TLS_KEY_FILE"]),
    "certificate that is none": (
        _set(TLS_CERTIFICATE_FILE="/etc/passwd"),
        ["COUNTERSIGN_TLS_CERTIFICATE_FILE"],
    ),
    "CA file missing": (_set(CLIENT_CA_FILE="/nowhere/ca.pem"), ["COUNTERSIGN_CLIENT_CA_FILE"]),
    "CA file that is none": (_set(CLIENT_CA_FILE="/etc/passwd"), ["COUNTERSIGN_CLIENT_CA_FILE"]),
    "CA of callbacks missing": (_set(CALLBACK_CA_FILE="/nowhere/ca.pem"), ["COUNTERSIGN_CALLBACK_CA_FILE"]),
    "address that is none": (_set(CLIENT_BIND="nonsense"), ["COUNTERSIGN_CLIENT_BIND"]),
    "address with a port that is none": (_set(CLIENT_BIND="127.0.0.1:99999"), ["COUNTERSIGN_CLIENT_BIND"]),
    "figures at a port that is none": (_set(METRICS_BIND="127.0.0.1:99999"), ["COUNTERSIGN_METRICS_BIND"]),
    "database that is not there": (
        _set(DATABASE_URL="postgresql+psycopg://user@127.0.0.1:1/x"),
        ["refused", "COUNTERSIGN_DATABASE_URL"],
    ),
    "database password missing": (
        _set(
            DATABASE_URL="postgresql+psycopg://user@127.0.0.1:1/x", DATABASE_PASSWORD_FILE="/nowhere/password"
        ),
        ["COUNTERSIGN_DATABASE_PASSWORD_FILE"],
    ),
    "folder that cannot be made": (
        _set(DATABASE_URL="", DATA_DIR="/etc/passwd/data"),
        ["COUNTERSIGN_DATA_DIR"],
    ),
    "address of somebody else": (_set(CLIENT_BIND="192.0.2.1:8444"), ["192.0.2.1"]),
}


@pytest.mark.parametrize(("change", "words"), FAULTS.values(), ids=FAULTS)
def test_what_is_wrong_is_said_in_one_line(gateway: Gateway, change: Change, words: list[str]) -> None:
    change(gateway)
    line = _failure(gateway)
    assert [word for word in words if word not in line] == [], line
    assert "hunter2" not in line
    assert "1234" not in line


@pytest.mark.parametrize(
    ("door", "bind"), [("APPLICATION_BIND", "0.0.0.0:8444"), ("CLIENT_BIND", "[::]:8444")]
)
def test_no_door_opens_to_the_network_without_tls(gateway: Gateway, door: str, bind: str) -> None:
    gateway.extra |= {f"COUNTERSIGN_{door}": bind}
    line = _failure(gateway, without=["TLS_CERTIFICATE_FILE", "TLS_KEY_FILE"])
    assert bind in line
    assert "COUNTERSIGN_TLS_CERTIFICATE_FILE" in line


def test_a_certificate_without_its_key_opens_no_door_in_clear(gateway: Gateway) -> None:
    line = _failure(gateway, without=["TLS_KEY_FILE"])
    assert "COUNTERSIGN_TLS_KEY_FILE" in line


def test_one_file_may_hold_certificate_and_key(gateway: Gateway) -> None:
    both = gateway.folder / "both.pem"
    authority = gateway.authority
    both.write_text(authority.key_file.read_text() + authority.chain_file.read_text())
    gateway.extra |= {"COUNTERSIGN_TLS_CERTIFICATE_FILE": str(both), "COUNTERSIGN_TLS_KEY_FILE": str(both)}
    gateway.start()
    assert gateway.stop() == 0


def test_a_port_that_is_taken_is_named(gateway: Gateway) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        gateway.application_port = taken.getsockname()[1]
        gateway.client_port = free_port()
        assert str(gateway.application_port) in _failure(gateway)


def test_a_wrong_pin_stops_the_start_and_the_right_one_works_afterwards(
    prepared: Gateway, new_token: Callable[[], str], tmp_path: Path
) -> None:
    uri = new_token()
    gateway = Gateway(tmp_path, uri, prepared.authority)
    gateway.run("init")
    pin_file = tokens.pin_file_of(uri)
    right = pin_file.read_text()
    pin_file.write_text("not-the-pin\n")
    # A status of its own, by which a supervisor knows not to try again until the token is locked.
    for words in (["serve"], ["work"], ["keys", "list"]):
        assert "PIN" in _failure(gateway, *words, status=3)
    pin_file.write_text(right)
    gateway.start()
    assert gateway.stop() == 0


def test_a_database_behind_its_migrations_is_not_served(prepared: Gateway, gateway: Gateway) -> None:
    path = prepared.folder / "data" / "countersign.db"
    engine = sa.create_engine(prepared.database_url or f"sqlite:///{path}", poolclass=sa.NullPool)

    def stamp(revision: str) -> str:
        with engine.begin() as connection:
            before = str(connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one())
            connection.execute(sa.text("UPDATE alembic_version SET version_num = :to"), {"to": revision})
            return before

    before = stamp("0000")
    try:
        line = _failure(gateway)
        stamp("9999")
        newer = [_failure(gateway, command) for command in ("serve", "migrate", "init")]
    finally:
        stamp(before)
    assert "0000" in line
    assert "countersign migrate" in line
    assert {each for each in newer if "newer program" in each and "countersign migrate" not in each} == set(
        newer
    )


def test_an_empty_database_is_not_served(gateway: Gateway, tmp_path: Path) -> None:
    gateway.database_url = f"sqlite:///{tmp_path / 'empty.db'}"
    assert "countersign init" in _failure(gateway)


def test_a_token_without_the_gateways_keys_is_not_served(
    gateway: Gateway, new_token: Callable[[], str]
) -> None:
    gateway.token_uri = new_token()
    line = _failure(gateway)
    assert "The token has no" in line
    assert "Create it with `countersign init`" in line


def test_every_command_says_the_same(gateway: Gateway) -> None:
    _set(LOG_LEVL="info")(gateway)
    for words in (["work"], ["application", "add", "x"]):
        assert "COUNTERSIGN_LOG_LEVL" in _failure(gateway, *words)
