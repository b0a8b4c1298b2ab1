"""No secret of the gateway, of a bank or of a user stands where somebody could read it later.

Everything secret that a day brings about is known here: the gateway is made to meet each of it, in requests that
succeed and in ones that fail, with the most talkative log there is. Then database, logs, outputs and processes are
searched. That the search can find is shown with the content that is still needed, and with planted secrets.
"""

import base64
import contextlib
import io
import os
import secrets
import sqlite3
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
import sqlalchemy as sa

from tests.counterparts.bank import Bank
from tests.counterparts.callback_receiver import CallbackReceiver
from tests.counterparts.phone import Phone
from tests.counterparts.phone_keys import Keys
from tests.counterparts.phone_line import NotRecognised
from tests.counterparts.phone_package import Package, normalise_code, read_package
from tests.gateways import Authority, Gateway, fresh_database
from tests.journeys.stage import DATABASES
from tests.needles import Needle, search
from tests.process_watch import ProcessWatch
from tests.tokens import pin_file_of

FOLD_SECONDS = 40
CONTENT_BYTES = 70_000  # large for the gateway and of many pages; each byte is looked at a thousand times
SLICE_BYTES = 24
PROCESSES_WITH = "sqlite"  # what processes show depends on no database


@dataclass
class Day:
    """A gateway, a bank and everything that must stay secret of them."""

    gateway: Gateway
    receiver: CallbackReceiver
    bank: Bank
    api_key: str
    needles: list[Needle] = field(default_factory=list)
    outputs: dict[str, bytes] = field(default_factory=dict)

    def keep(self, name: str, secret: str | bytes) -> None:
        raw = secret.encode() if isinstance(secret, str) else secret
        self.needles.append(Needle(name, raw))

    def keep_content(self, content: bytes) -> list[Needle]:
        """Content is searched for in slices: a database may cut it into pages."""
        places = range(0, len(content) - SLICE_BYTES + 1, max(SLICE_BYTES, len(content) // 6))
        found = [Needle(f"content at {place}", content[place : place + SLICE_BYTES]) for place in places]
        self.needles += found
        return found

    # What happens

    def enrol(self, delivery: str) -> Phone:
        """A phone with keys that travelled in this way; all that belongs to them is kept."""
        user = f"user-{delivery}"
        self.bank.create_user(user)
        secret = secrets.token_urlsafe(20) if delivery == "online" else None
        issued = self.bank.issue_keyset(user, delivery, **({} if secret is None else {"secret": secret}))
        package = Package.decode(read_package(issued.package))
        opened: dict[str, Any] = {"secret": secret}
        if delivery == "qr_and_code":
            opened = {"activation_code": self.bank.activation_code(user, issued.id)}
            self.keep("activation code with hyphens", opened["activation_code"])
            secret = normalise_code(opened["activation_code"])
        secret = secret or package.secret
        assert secret is not None
        self.keep(f"secret of {delivery}", secret)
        self.keep(f"KEK of {delivery}", package._kek(secret))
        self.keep(f"package of {delivery}", base64.b64decode(issued.package))
        self.keep(f"QR code of {delivery}", issued.qr_text)
        self.keep(f"wrapped Khmac of {delivery}", package.khmac)
        phone = Phone.enrol(issued.package, ca_pem=self.gateway.authority.ca_file.read_text(), **opened)
        self.keep_keys(delivery, phone)
        phone.register()
        return phone

    def keep_keys(self, name: str, phone: Phone) -> None:
        self.keep(f"Khmac of {name}", phone.keys.khmac)
        self.keep(f"Kauth of {name}", phone.keys.kauth)
        self.keep(f"Kprivate of {name}", phone.keys.scalar)
        number = phone.keys.private_key.private_numbers().private_value
        self.keep(f"Kprivate of {name} as a number", number.to_bytes(32, "big"))

    def settle_everything(self, phone: Phone) -> None:
        """Transactions that end in every way."""
        for end in (phone.approve, phone.decline, lambda shown: self.bank.cancel(shown.transaction)):
            content = os.urandom(CONTENT_BYTES)
            self.keep_content(content)
            made = self.bank.create_transaction(phone.account.user, content=content, media_type="a/b")
            end(phone.show(made["id"]))
        text = secrets.token_hex(SLICE_BYTES)
        self.keep("text", text)
        made = self.bank.create_transaction(phone.account.user, text=f"Pay {text} to somebody")
        phone.approve(phone.show(made["id"]))
        proofs = self.bank.transaction(made["id"])["confirmation"]
        asked = {name: proofs[name] for name in ("step", "code", "signature")}
        assert self.bank.verify(made["id"], text=f"Pay {text} to somebody", **asked)["valid"]
        self.receiver.wait_for("transaction.confirmed", transaction=made["id"])

    def go_wrong(self, phone: Phone) -> None:
        """Requests that are refused, each with something secret inside."""
        user = f"/v1/users/{phone.account.user}"
        refused = secrets.token_urlsafe(24)
        self.keep("secret in a refused request", refused)
        for body in (
            {"delivery": "qr", "secret": refused},
            {"delivery": refused},
            {"delivery": "online", "secret": [refused]},
            {"delivery": "qr", "unknown": refused},
        ):
            assert self.bank.request("POST", f"{user}/keysets", json=body).status_code == 400
        broken = b'{"user": "' + phone.account.user.encode() + b'", "text": "' + refused.encode() + b'"'
        keyed = {"Content-Type": "application/json", "Idempotency-Key": secrets.token_hex(8)}
        assert self.bank.request("POST", "/v1/transactions", content=broken, headers=keyed).status_code == 400
        wrong = {"Authorization": f"Bearer {self.api_key} and more"}
        assert self.bank.request("GET", "/v1/policy", headers=wrong).status_code == 401
        stranger = Phone(phone.account, Keys.fresh(os.urandom(32), os.urandom(32)))
        with stranger, pytest.raises(NotRecognised):
            stranger.pending()

    def speak_http2(self) -> None:
        """Once over the other protocol: it has a library and logs of its own."""
        context = ssl.create_default_context(cafile=self.gateway.authority.ca_file)
        with httpx2.Client(verify=context, http2=True, trust_env=False) as http:
            bearer = {"Authorization": f"Bearer {self.api_key}"}
            answer = http.get(f"{self.gateway.application_url}/v1/policy", headers=bearer)
        assert (answer.status_code, answer.http_version) == (200, "HTTP/2")

    # Where it is searched for

    def database(self) -> dict[str, bytes]:
        """Everything that the database holds: the files, and each table as text and as bytes."""
        if not self.gateway.database_url:
            folder = self.gateway.folder / "data"
            files = {path.name: path.read_bytes() for path in folder.iterdir()}
            with contextlib.closing(sqlite3.connect(folder / "countersign.db")) as connection:
                return {**files, "dump": "\n".join(connection.iterdump()).encode()}
        url = sa.make_url(self.gateway.database_url).set(drivername="postgresql")
        found = {}
        with psycopg.connect(url.render_as_string(hide_password=False)) as connection:
            names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
            for (name,) in names.fetchall():
                for form in ("text", "binary"):
                    found[f"{name} as {form}"] = _copied(
                        connection, f'COPY "{name}" TO STDOUT (FORMAT {form})'
                    )
        return found

    def wait_until_folded(self) -> None:
        """SQLite's log is emptied by the worker now and then; what was cleared is gone after that."""
        log = self.gateway.folder / "data" / "countersign.db-wal"
        deadline = time.monotonic() + FOLD_SECONDS
        while not self.gateway.database_url and log.exists() and log.stat().st_size:
            assert time.monotonic() < deadline, "the worker did not fold the log"
            time.sleep(0.2)

    def logs(self) -> dict[str, bytes]:
        return {"log": self.gateway.log_file.read_bytes(), **self.outputs}


def _copied(connection: "psycopg.Connection[Any]", statement: str) -> bytes:
    out = io.BytesIO()
    with connection.cursor().copy(statement) as copy:
        for part in copy:
            out.write(part)
    return out.getvalue()


@contextlib.contextmanager
def begun(kind: str, folder: Path, token_uri: str) -> Iterator[Day]:
    """A gateway that says all it can say, with a bank."""
    authority = Authority.make(folder)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(authority.chain_file, authority.key_file)
    with fresh_database(kind) as url, CallbackReceiver(tls=tls) as receiver:
        gateway = Gateway(folder, token_uri, authority, url, {"COUNTERSIGN_LOG_LEVEL": "debug"})
        gateway.anew = kind == PROCESSES_WITH
        ran = {"init": gateway.run("init")}
        added = gateway.add_application(callback=receiver.url)
        gateway.start()
        gateway.anew = False
        ran |= {command: gateway.run(*command.split()) for command in ("check", "application add another")}
        with contextlib.ExitStack() as open_:
            open_.callback(gateway.stop)
            bank = open_.enter_context(gateway.bank(added["api_key"]))
            day = Day(gateway, receiver, bank, added["api_key"])
            day.outputs = {name: (done.stdout + done.stderr).encode() for name, done in ran.items()}
            day.keep("PIN", pin_file_of(token_uri).read_text().strip())
            day.keep("API key", added["api_key"].partition(".")[2])
            for secret in (added["webhook_secret"], bank.new_webhook_secret()["secret"]):
                receiver.trust(secret, jwks=bank.jwks)
                day.keep("webhook secret", secret.removeprefix("whsec_"))
                day.keep("webhook secret, decoded", base64.b64decode(secret.removeprefix("whsec_")))
            yield day


@pytest.mark.parametrize("kind", DATABASES)
def test_no_secret_is_in_database_logs_or_process_list(
    kind: str, tmp_path: Path, new_token: Callable[[], str]
):
    watch = ProcessWatch(str(tmp_path))
    watching = watch if kind == PROCESSES_WITH else contextlib.nullcontext()
    with watching, begun(kind, tmp_path, new_token()) as day:
        day.receiver.fail(500, times=1)
        phones = [day.enrol(delivery) for delivery in ("qr_and_code", "qr", "online")]
        pending = day.keep_content(content := os.urandom(100_000))
        made = day.bank.create_transaction(phones[1].account.user, content=content, media_type="a/b")
        # What is needed still is found: so the search works.
        assert len(set(search(day.database(), pending))) >= len(pending)
        for phone in phones:
            day.settle_everything(phone)
            day.go_wrong(phone)
        day.speak_http2()
        phones[1].decline(phones[1].show(made["id"]))
        day.wait_until_folded()
        heaps = {**day.database(), **day.logs()}
        day.gateway.stop()
        heaps |= {f"{name}, later": heap for name, heap in {**day.database(), **day.logs()}.items()}
        for phone in phones:
            phone.close()
    assert len(day.needles) > 70
    assert heaps.get("idempotency as text") or b'INSERT INTO "idempotency"' in heaps["dump"]
    if kind == PROCESSES_WITH:
        assert {" ".join(line.split()[-1:]) for line in watch.lines()} >= {"init", "serve"}
        assert any("application add" in line for line in watch.lines())
    assert search({**heaps, **watch.heaps()}, day.needles) == []


def test_a_secret_is_found_in_whatever_form_it_is_written():
    needle = Needle("secret", os.urandom(32))
    forms = needle.forms()
    assert len(forms) == 12
    for form, sign in forms.items():
        assert f"secret, {form}, in log" in search({"log": b"before " + sign + b" after"}, [needle])
    for before in range(6):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            heap = encode(os.urandom(before) + needle.raw + os.urandom(5))
            assert search({"log": heap}, [needle]) != []
    assert search({"log": os.urandom(100_000), "other": needle.raw[1:]}, [needle]) == []


def test_a_secret_on_a_command_line_or_in_an_environment_is_found(tmp_path: Path):
    said, inherited = (Needle.of_text(name, secrets.token_hex(16)) for name in ("said", "inherited"))
    waiting = [sys.executable, "-c", "input()", said.raw.decode()]
    environment = {**os.environ, "MARK": str(tmp_path), "PIN": inherited.raw.decode()}
    with (
        ProcessWatch(str(tmp_path)) as watch,
        subprocess.Popen(waiting, env=environment, stdin=subprocess.PIPE) as running,
    ):
        deadline = time.monotonic() + FOLD_SECONDS
        while not any(said.raw.decode() in line for line in watch.lines()):
            assert time.monotonic() < deadline, "nobody looked"
            time.sleep(0.02)
        running.communicate(b"\n")
    found = search(watch.heaps(), [said, inherited])
    assert any(line.startswith("said") and "command line" in line for line in found)
    assert any(line.startswith("inherited") and "environment" in line for line in found)
