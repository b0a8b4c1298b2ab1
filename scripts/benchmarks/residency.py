"""What do derived keys cost, and do they stay the same when there are a thousand times as many users?

Two gateways on one token run side by side: one whose database has the users of the hot set alone, one whose database
has a great many more. Their rows are those of real users with other names, keys and seals that nobody vouched for.
"""

import contextlib
import os
import secrets
import sqlite3
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from rich.progress import track

from gateway import assembly
from gateway.ids import new_id
from gateway.rules.keyset import Keyset
from gateway.rules.policy import Residency
from gateway.rules.user import UserStatus
from gateway.scenarios import bindings, keynames
from gateway.scenarios.context import Context
from gateway.settings import load_settings
from gateway.store import keysets, users
from gateway.wire.keyname import point_name
from hsm.device import Device
from hsm.keys import DerivedRef, PointRef
from scripts.benchmarks.exchange import Approval
from scripts.benchmarks.load import run_burst
from scripts.benchmarks.population import Transactions, enrol_phones
from scripts.benchmarks.processor_time import tree_memory
from scripts.benchmarks.resident_keys import measure_resident
from scripts.benchmarks.servers import Server, Stage
from scripts.benchmarks.sheet import Grid, Sheet
from tests.counterparts.phone import Phone
from tests.counterparts.phone_keys import Keys
from tests.tokens import create_token

Json = dict[str, Any]
_STARTS = 3
_CHUNK = 100  # confirmations of one gateway before the other has its turn
_BURST_SECONDS = 120.0
_PROBES = 300
_ROWS_AT_ONCE = 20_000
_KEK = bytes(32)  # nobody but this program sees what is wrapped under it
_POINT = bytes.fromhex(  # RFC 6979, section A.2.5
    "0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"
    "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299"
)


class _Gateway:
    """One of the two: its stage, the transactions that wait there, and what was measured."""

    def __init__(self, stage: Stage, phones: list[Phone]) -> None:
        self.stage = stage
        self.supply = Transactions(stage, phones)
        self.starts: list[float] = []
        self.cold: list[float] = []
        self.hot: list[float] = []
        self.memory: dict[str, float] = {}

    def figures(self, users: int) -> Json:
        return {
            "users": users,
            "start_seconds": median(self.starts),
            "cold_ms": median(self.cold[_CHUNK:] or self.cold),  # without the first requests of the process
            "hot_ms": median(self.hot),
            "memory_mib": self.memory,
            "database_mib": (self.stage.folder / "data" / "countersign.db").stat().st_size / 2**20,
        }


def add_options(parser: ArgumentParser) -> None:
    """Say what can be chosen."""
    add = parser.add_argument
    add("--users", type=int, default=1_000_000, help="users of the larger database (%(default)s)")
    add("--hot", type=int, default=1000, help="users who confirm (%(default)s)")
    numbers = [10, 100, 1000, 3000, 10_000]
    add("--resident", type=int, nargs="*", default=numbers, help="users with keys on the token (%(default)s)")


def measure(arguments: Namespace, folder: Path, token_uri: str) -> Sheet:
    """Measure derived keys with few and many users, then keys on the token by number of users."""
    found = _measure_derived(folder, token_uri, arguments.users, arguments.hot)
    rows = measure_resident(create_token(folder), arguments.resident)
    few, many = found["few"], found["many"]
    names = ("users", "start_seconds", "cold_ms", "hot_ms", "database_mib")
    return Sheet(
        scenario="residency",
        title="Keys on the token and derived ones, by number of users",
        says=[
            f"Objects on the token before and after: {found['objects']}. Single uses, in microseconds: {found['keys']}."
        ],
        grids=[
            Grid(
                "derived",
                ["", "few", "many"],
                [[name, few[name], many[name]] for name in names]
                + [
                    [f"memory, {name}, MiB", few["memory_mib"][name], many["memory_mib"][name]]
                    for name in few["memory_mib"]
                ],
            ),
            Grid("resident", list(rows[0]) if rows else [], [list(row.values()) for row in rows]),
        ],
        settings={"users": arguments.users, "hot": arguments.hot, "resident": arguments.resident},
        figures=found | {"resident": rows},
    )


def _measure_derived(folder: Path, token_uri: str, users: int, hot: int) -> Json:
    """Return the figures of both gateways, of single keys, and how many objects the token has."""
    (folder / "few").mkdir()
    (folder / "many").mkdir()
    few = Stage.build(folder / "few", token_uri)
    few.run("init")
    before = _objects(folder)
    (model,) = enrol_phones(few, 1, {"residency": "derived"})
    phones = [model, *_enrol_like(few, model, hot - 1)]
    many = Stage.build(folder / "many", token_uri)
    _copy(few, many)
    _fill(many, users - hot)
    pair = (_Gateway(few, phones), _Gateway(many, phones))
    for _ in track(range(_STARTS), "Starting"):
        for each in pair:
            began = time.perf_counter()
            with each.stage.client_door():
                each.starts.append(time.perf_counter() - began)
    with pair[0].stage.client_door() as first, pair[1].stage.client_door() as second:
        _confirm_in_turns(pair, (first, second), hot)
    figures = {"few": pair[0].figures(hot), "many": pair[1].figures(users)}
    for each in pair:
        each.supply.close()
    return figures | {"objects": (before, _objects(folder)), "keys": _single_keys(token_uri)}


def _confirm_in_turns(pair: tuple[_Gateway, _Gateway], servers: tuple[Server, Server], hot: int) -> None:
    for each, server in zip(pair, servers, strict=True):
        each.memory["started"] = tree_memory(server.process.pid)
    for name in ("cold", "hot"):  # every user once, then every user once more
        for _ in track(range(0, hot, _CHUNK), f"Confirming, {name}"):
            for each, server in zip(pair, servers, strict=True):
                getattr(each, name).extend(_confirm(each, server, min(_CHUNK, hot)))
        for each, server in zip(pair, servers, strict=True):
            each.memory[name] = tree_memory(server.process.pid)


def _confirm(gateway: _Gateway, server: Server, count: int) -> list[float]:
    """Confirm so many transactions one after the other; the milliseconds of each. Every answer is checked."""
    approvals = [Approval.sign(phone, shown) for phone, shown in gateway.supply.take(count)]
    wires = ((number, approval.wire) for number, approval in enumerate(approvals))
    burst = run_burst([server.port], wires, _BURST_SECONDS, 1, lambda: None)
    for answer in burst.answers:
        approvals[answer.number].check(answer)
    assert len(burst.answers) == count
    return [answer.seconds * 1000 for answer in burst.answers]


def _enrol_like(stage: Stage, model: Phone, count: int) -> list[Phone]:
    """Write so many more users with keys of their own, which the HSM vouches for; return their phones."""
    with (
        assembly.open_context(load_settings(stage.environment)) as ctx,
        ctx.database.unit() as connection,
    ):
        keyset = keysets.find_keyset(connection, model.account.keyset)
        user = users.find_user(connection, model.account.application, model.account.user)
        assert keyset is not None
        assert user is not None
        made = [
            _like(ctx, keyset, model, f"user-{number}") for number in track(range(1, count + 1), "Enrolling")
        ]
        for row, _ in made:
            users.insert_user(connection, replace(user, user_id=row.user_id))
            keysets.insert_keyset(connection, row)
        return [phone for _, phone in made]


def _like(ctx: Context, model: Keyset, phone: Phone, user: str) -> tuple[Keyset, Phone]:
    name = new_id("ks", ctx.clock.now())
    names = (keynames.new_secret(ctx, Residency.DERIVED), keynames.new_secret(ctx, Residency.DERIVED))
    refs = [
        keynames.secret_ref(each, purpose, model.application_id, user, name)
        for purpose, each in zip(("khmac", "kauth"), names, strict=True)
    ]
    wrapped = ctx.device.issue_derived(_KEK, [ref for ref in refs if isinstance(ref, DerivedRef)])
    keys = Keys.fresh(*(aes_key_unwrap(_KEK, each) for each in wrapped))
    public = keys.private_key.public_key()
    row = replace(
        model,
        id=name,
        user_id=user,
        khmac=names[0],
        kauth=names[1],
        kpublic=point_name(public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)),
        spki=public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    )
    account = replace(phone.account, user=user, keyset=name)
    return bindings.bind(ctx, row, UserStatus.ACTIVE), Phone(account, keys)


def _objects(folder: Path) -> int:
    return sum(1 for _ in (folder / "tokens").glob("*/*.object"))


def _copy(source: Stage, target: Stage) -> None:
    with _database(source) as present, _database(target) as copy:
        present.backup(copy)


@contextlib.contextmanager
def _database(stage: Stage) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(stage.folder / "data" / "countersign.db")) as connection:
        yield connection
        connection.commit()


def _fill(stage: Stage, count: int) -> None:
    """Add so many users with a device and a keyset each."""
    with _database(stage) as connection:
        for pragma in ("synchronous = OFF", "cache_size = -2000000", "journal_mode = MEMORY"):
            connection.execute(f"PRAGMA {pragma}")
        for start in track(range(0, count, _ROWS_AT_ONCE), "Filling"):
            names = [
                f"{number:08x}{secrets.token_hex(8)}"
                for number in range(start, min(start + _ROWS_AT_ONCE, count))
            ]
            for table, change in (("users", _user), ("devices", _device), ("keysets", _keyset)):
                _insert_like(connection, table, change, names)
            connection.commit()
        connection.execute("PRAGMA journal_mode = WAL")


def _insert_like(
    connection: sqlite3.Connection, table: str, change: Callable[[str], Json], names: list[str]
) -> None:
    found = connection.execute(f"SELECT * FROM {table} LIMIT 1")  # noqa: S608  # one of our three names
    columns = [each[0] for each in found.description]
    model = dict(zip(columns, found.fetchone(), strict=True))
    places = ", ".join(f":{each}" for each in columns)
    rows = (model | change(name) for name in names)
    connection.executemany(f"INSERT INTO {table} VALUES ({places})", rows)  # noqa: S608


def _user(name: str) -> Json:
    return {"user_id": name}


def _device(name: str) -> Json:
    return {"id": f"dev_{name}", "user_id": name}


def _keyset(name: str) -> Json:
    random = os.urandom(128)
    return {
        "id": f"ks_{name}",
        "user_id": name,
        "device_id": f"dev_{name}",
        "khmac": f"derived:master=1;salt={random[:32].hex()}",
        "kauth": f"derived:master=1;salt={random[32:64].hex()}",
        "kpublic": f"point:04{random[64:].hex()}",
        "binding": random[:32],
    }


def _single_keys(token_uri: str) -> Json:
    """Return microseconds of a single use, of a key that is held and of one that has to be made."""
    with contextlib.closing(Device.open(token_uri)) as device:
        digest, signature = bytes(32), (1).to_bytes(32, "big") * 2
        secret = [DerivedRef(1, secrets.token_bytes(32)) for _ in range(_PROBES)]
        made = [_microseconds(lambda key=key: device.mac(key, digest)) for key in secret]  # type: ignore[misc]
        held = [_microseconds(lambda key=key: device.mac(key, digest)) for key in secret]  # type: ignore[misc]
        point = PointRef(_POINT)
        made_point, held_point = [], []
        for _ in range(_PROBES):
            device.forget([point])
            made_point.append(_microseconds(lambda: device.verify(point, digest, signature)))
            held_point.append(_microseconds(lambda: device.verify(point, digest, signature)))
    return {
        "mac_made_us": median(made),
        "mac_held_us": median(held),
        "verify_made_us": median(made_point),
        "verify_held_us": median(held_point),
    }


def _microseconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1e6
