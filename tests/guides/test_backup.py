"""A running gateway is backed up and restored by the guide's own commands: what is there then, and what is not?"""

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import pytest
import sqlalchemy as sa

from tests.counterparts.bank import Bank, BankRefused
from tests.counterparts.phone import Phone
from tests.counterparts.phone_account import Shown
from tests.counterparts.phone_line import Line, NotRecognised
from tests.gateways import Gateway
from tests.hsm.twins import copy_token
from tests.journeys.conftest import stage
from tests.journeys.stage import PATIENT, Json, Stage

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "operating.md"
PROGRAMS = [str(each) for each in Path("/usr/lib/postgresql").glob("*/bin")]
PENDING = "transactions.pending"
__all__ = ["stage"]


@dataclass
class Places:
    """Where the test has what the guide calls by names of its own."""

    work: Path
    database: str  # as the guide's commands name it: an address, or a file
    fresh: str  # the same of the one to restore into
    name: str = f"restored_{os.getpid()}"

    def follow(self, section: str) -> None:
        """Run the commands of this section that are about this kind of database."""
        is_file = not self.database.startswith("postgresql")
        about = ("umask", "python3", "rm", "install") if is_file else ("umask", "pg_", "createdb", "psql")
        part = GUIDE.read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
        lines = [line.removeprefix("$ ") for line in part.splitlines() if line.startswith("$ ")]
        typed = [self._here(line, section) for line in lines if line.startswith(about)]
        assert len(typed) == (3 if section == "Restore" and not is_file else 2)
        path = os.pathsep.join([os.environ["PATH"], *PROGRAMS])
        environment = {**os.environ, "PATH": path, "PGUSER": "countersign"}
        command = ["bash", "-c", "set -eu\n" + "\n".join(typed)]
        done = subprocess.run(
            command, cwd=self.work, env=environment, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")

    def _here(self, line: str, section: str) -> str:
        place = self.fresh if section == "Restore" else self.database
        socket = unquote("".join(re.findall(r"host=([^&]*)", self.database)))
        line = line.replace("/var/lib/countersign/countersign.db", shlex.quote(place))
        line = re.sub(r"postgresql://\w+@db\.example/countersign", lambda _: shlex.quote(place), line)
        line = re.sub(r"^(createdb .*) countersign$", rf"\1 {self.name}", line)
        return line.replace("--host=db.example", f"--host={socket}")


@dataclass
class Restored:
    """The gateway as it was when it was backed up, on copies, while the other one had gone on."""

    stage: Stage
    gateway: Gateway
    phone: Phone
    bank: Bank
    facts: Json = field(default_factory=dict)
    line: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def here(self, phone: Phone) -> Phone:
        """The same phone, talking to the restored gateway."""
        other = Phone(phone.account, phone.keys, clock=phone.clock)
        other.private_key = phone.private_key
        other.close()
        other.line = Line(self.gateway.client_url, ca_pem=phone.account.ca_pem, pin=phone.account.door_pin)
        self.line.callback(other.close)
        return other


def _places(stage: Stage, work: Path) -> Iterator[Places]:
    if stage.kind == "sqlite":
        (work / "data").mkdir(mode=0o700)
        file = stage.gateway.folder / "data" / "countersign.db"
        yield Places(work, str(file), str(work / "data" / "countersign.db"))
        return
    url = sa.make_url(stage.gateway.database_url).set(drivername="postgresql")
    places = Places(work, url.render_as_string(hide_password=False), "")
    places.fresh = url.set(database=places.name).render_as_string(hide_password=False)
    yield places
    engine = sa.create_engine(url.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE IF EXISTS {places.name} WITH (FORCE)"))
    engine.dispose()


@pytest.fixture(scope="module")
def restored(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Restored]:
    """Back up a gateway at work, go on with it, and restore it elsewhere."""
    work = tmp_path_factory.mktemp("restored")
    with contextlib.contextmanager(_places)(stage, work) as places:
        phone = stage.phone()
        facts = _before(stage, phone)
        places.follow("Back up")
        facts |= _afterwards(stage, phone, facts)
        if stage.kind == "sqlite":  # a process was killed there
            shutil.copy(f"{places.database}-wal", f"{places.fresh}-wal")
        config = copy_token(stage.gateway.token_uri, work)
        places.follow("Restore")
        url = "" if stage.kind == "sqlite" else places.fresh.replace("postgresql:", "postgresql+psycopg:")
        first = stage.gateway
        gateway = Gateway(work, first.token_uri, first.authority, url)
        gateway.extra = {**PATIENT, "SOFTHSM2_CONF": str(config)}
        facts["check"] = gateway.run("check", check=False)
        (line,) = gateway.run("events", "--newest", "--limit", "1", "--json").stdout.splitlines()
        facts["newest"] = json.loads(line)["number"]
        gateway.start()
        made = Restored(stage, gateway, phone, gateway.bank(stage.keys["api_key"]), facts)
        made.phone = made.here(phone)
        yield made
        made.line.close()
        made.bank.close()
        gateway.stop()


def _before(stage: Stage, phone: Phone) -> Json:
    settled, waits = (stage.ask(phone, text) for text in ("Pay 10 EUR", "Pay 20 EUR"))
    phone.approve(settled)
    used = phone.envelope(PENDING, {})
    assert phone.send(PENDING, used).status == 200
    once = stage.bank.create_transaction(
        phone.account.user, text="Pay once", idempotency_key=f"before-{waits.transaction}"
    )
    return {
        "settled": settled.transaction, "waits": waits, "used before": used, "once": once["id"],
        "blocked later": stage.phone(),
    }  # fmt: skip


def _afterwards(stage: Stage, phone: Phone, facts: Json) -> Json:
    phone.approve(facts["waits"])
    used = phone.envelope(PENDING, {})
    assert phone.send(PENDING, used).status == 200
    stage.bank.block(facts["blocked later"].account.user)
    return {"used after": used, "late": stage.phone()}


def test_what_was_restored_is_well(restored: Restored) -> None:
    told = restored.facts["check"]
    assert told.returncode == 0, told.stdout
    for line in ("database: ok", "token: ok"):
        assert line in told.stdout.splitlines()


def test_a_customer_confirms_and_the_evidence_of_before_is_good(restored: Restored) -> None:
    made = restored.bank.create_transaction(restored.phone.account.user, text="Pay 30 EUR")
    assert restored.phone.approve(restored.phone.show(made["id"]))["status"] == "confirmed"
    proof = restored.bank.transaction(restored.facts["settled"])["confirmation"]
    given = {name: proof[name] for name in ("step", "code", "signature")}
    assert restored.bank.verify(restored.facts["settled"], text="Pay 10 EUR", **given)["valid"]


def test_what_was_settled_or_blocked_since_is_as_it_was(restored: Restored) -> None:
    waits: Shown = restored.facts["waits"]
    assert restored.bank.transaction(waits.transaction)["status"] == "pending"
    assert restored.phone.approve(waits)["status"] == "confirmed"
    assert restored.bank.user(restored.facts["blocked later"].account.user)["status"] == "active"


def test_keys_that_were_issued_since_are_nobodys_and_can_be_found(restored: Restored) -> None:
    late: Phone = restored.facts["late"]
    with pytest.raises(NotRecognised):
        restored.here(late).pending()
    with pytest.raises(BankRefused, match="not_found"):
        restored.bank.user(late.account.user)
    found = json.loads(restored.gateway.run("keys", "orphans", "--json").stdout)
    assert len(found) >= 3
    restored.bank.create_user(late.account.user)
    with contextlib.closing(
        restored.stage.personalise(restored.bank.issue_keyset(late.account.user).qr_text)
    ):
        assert restored.bank.user(late.account.user)["status"] == "active"


def test_numbers_of_events_begin_again_where_the_backup_ended(restored: Restored) -> None:
    restored.phone.pending()
    newest = restored.facts["newest"]
    ours, theirs = (
        {event["number"]: event["id"] for event in bank.events(after=newest, limit=200)["events"]}
        for bank in (restored.bank, restored.stage.bank)
    )
    # Which numbers are whose depends on what the workers write of other banks meanwhile.
    assert ours.keys() & theirs.keys()
    assert not set(ours.values()) & set(theirs.values())


def test_a_creation_of_before_is_known_and_not_made_again(restored: Restored) -> None:
    waits: Shown = restored.facts["waits"]
    again = restored.bank.create_transaction(
        restored.phone.account.user, text="Pay once", idempotency_key=f"before-{waits.transaction}"
    )
    assert again["id"] == restored.facts["once"]


def test_requests_of_before_are_not_replayed_while_those_since_could_be(restored: Restored) -> None:
    assert restored.phone.send(PENDING, restored.facts["used before"]).status == 401
    assert restored.phone.send(PENDING, restored.facts["used after"]).status == 200
