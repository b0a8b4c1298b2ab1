"""What does a confirmation look like from beginning to end? The demo, told step by step; run it with scripts/demo.

The bank and the phone are the tests' counterparts, written from the reference alone; the gateway is started by its
command line. Nothing here shares code with it.
"""

import argparse
import base64
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

from demo_document import Document, Unsuitable
from demo_folder import FolderTaken, own_folder
from demo_gateway import CONTENT_BYTES_MOST, Gateway, GatewayTrouble
from demo_screen import Screen, near
from demo_token import LABEL, Token, TokenTrouble, list_objects, make_token
from httpx2 import TransportError

from tests.counterparts.bank import Bank, BankRefused
from tests.counterparts.callback_receiver import CallbackReceiver
from tests.counterparts.phone import PART_BYTES, Phone
from tests.counterparts.phone_keys import PhoneStore
from tests.counterparts.phone_line import PhoneError

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "docs" / "examples" / "contract.pdf"
USER = "customer-1001"
SECOND = "Transfer 9,800.00 EUR to an account you have never paid to before"


class Wrong(Exception):
    """Something is not as it must be."""


TROUBLES = (
    Wrong,
    Unsuitable,
    FolderTaken,
    TokenTrouble,
    GatewayTrouble,
    BankRefused,
    PhoneError,
    TransportError,
    OSError,
)


def expect(fact: bool, words: str) -> None:  # noqa: FBT001
    """Stop unless it is so."""
    if not fact:
        raise Wrong(words)


class Story:
    """The steps in their order; each says what it did."""

    def __init__(self, screen: Screen, folder: Path, document: Document) -> None:
        self.screen, self.folder, self.document = screen, folder, document

    def tell(self) -> None:
        """Go through all of it."""
        token = self.make_token()
        gateway = Gateway(self.folder, token.uri, token.configuration)
        with CallbackReceiver(tls=gateway.server_tls()) as callbacks:
            credentials = self.prepare(gateway, callbacks.url)
            with self.serving(gateway) as bank_without_key, gateway.bank(credentials["api_key"]) as bank:
                callbacks.trust(credentials["webhook_secret"], jwks=bank_without_key.jwks)
                with self.enrol(gateway, bank) as phone:
                    sent = self.send(bank)
                    self.answer(phone, sent["id"])
                    self.hear(callbacks, bank.jwks(), sent["id"])
                    self.verify_again(bank, sent["id"])
                    self.decline(bank, phone, callbacks)
                self.look_at_token(token)

    def make_token(self) -> Token:
        """Make the token that stands in for an HSM."""
        self.screen.step("The HSM: a software token")
        token = make_token(self.folder)
        self.screen.say(
            f"SoftHSM made the token {LABEL!r}. A real HSM is used the same way, through its own PKCS#11 module."
        )
        self.screen.facts(
            module=token.module,
            PIN=f"in {near(token.pin_file)}, mode {token.pin_file.stat().st_mode & 0o777:o}",
        )
        return token

    def prepare(self, gateway: Gateway, callback: str) -> dict[str, str]:
        """Prepare token and database, and add the bank's application."""
        self.screen.step("The operator: countersign init, countersign application add")
        for line in gateway.run("init").strip().splitlines():
            self.screen.say(line)
        credentials = gateway.add_application("Example Bank, loans", callback)
        self.screen.say("The bank's system was added. Its API key and callback secret were shown this once.")
        self.screen.facts(application=credentials["application"], callbacks_go_to=callback)
        self.screen.keys(
            "the gateway's own were made inside the token. The database holds no API key, only a MAC of it "
            "made by the token; the callback secret is computed in the token whenever it is needed."
        )
        return credentials

    @contextmanager
    def serving(self, gateway: Gateway) -> Iterator[Bank]:
        """Serve both doors; gives a bank without credentials."""
        self.screen.step("The gateway: countersign serve")
        with gateway, gateway.bank() as anybody:
            self.screen.say("It is ready: one process with both doors and the worker, with TLS.")
            self.screen.facts(
                door_for_banks=f"https://{gateway.application_door}",
                door_for_phones=f"https://{gateway.client_door}",
                log=gateway.log_file,
            )
            yield anybody
            status = gateway.stop()
        expect(status == 0, f"the gateway stopped with status {status}; see {gateway.log_file}")

    def enrol(self, gateway: Gateway, bank: Bank) -> Phone:
        """Bring keys to the phone in a QR code, to be opened with a code that came another way."""
        self.screen.step("The customer's phone: enrolled with a QR code and an activation code")
        bank.create_user(USER)
        issued = bank.issue_keyset(USER, "qr_and_code")
        picture = self.folder / "enrolment.png"
        picture.write_bytes(issued.qr_png)
        code = bank.activation_code(USER, issued.id)
        phone = Phone.enrol(
            picture.read_bytes(),
            activation_code=code,
            ca_pem=gateway.ca_file.read_text(),
            store=PhoneStore(self.folder / "phone"),
            password=token_urlsafe(12),
        )
        registered = phone.register()
        self.screen.say(
            f"The bank got a QR code ({picture.name}) and, by a call of its own, a code of {len(code)} signs to send "
            "by another way. The phone read the picture, opened the package with the code, and registered."
        )
        self.screen.facts(user=USER, keyset=issued.id, valid_until=registered["valid_until"])
        self.screen.keys(
            "Khmac and Kauth were made inside the token and left it once, encrypted under the code. The phone made "
            "Kprivate itself and keeps all three under a password; the gateway got Kpublic."
        )
        return phone

    def send(self, bank: Bank) -> dict[str, Any]:
        """Have the bank ask for a confirmation of the document."""
        document = self.document
        self.screen.step("The bank sends the document")
        sent = bank.create_transaction(
            USER, content=document.content, media_type=document.media_type, title=document.title
        )
        expect(base64.b64decode(sent["content_sha256"]) == document.digest, "the gateway has another content")
        self.screen.facts(
            file=document.path,
            type=document.media_type,
            size=f"{len(document.content):,} bytes",
            SHA256=document.digest.hex(),
            transaction=f"{sent['id']}, {sent['status']} until {sent['expires_at']}",
        )
        return sent

    def answer(self, phone: Phone, transaction: str) -> None:
        """Let the phone fetch, show and approve."""
        self.screen.step("The phone shows it, and the customer approves")
        waiting = phone.pending()
        expect([row["transaction"] for row in waiting] == [transaction], "the phone sees something else")
        # Small files in four parts as well, for the sake of the demonstration.
        part_bytes = min(PART_BYTES, -(-len(self.document.content) // 4))
        shown = phone.show(transaction, part_bytes=part_bytes)
        expect(shown.content == self.document.content, "the phone got another content")
        copy = self.folder / f"shown-on-the-phone{self.document.path.suffix}"
        copy.write_bytes(shown.content)
        parts = -(-len(shown.content) // part_bytes)
        self.screen.say(
            f"It fetched {len(shown.content):,} bytes in {parts} parts and computed the SHA-256 of what it shows "
            f"({copy.name}): {shown.digest.hex()[:16]}..., the same. Each answer carried the gateway's proof."
        )
        status = phone.approve(shown)["status"]
        expect(status == "confirmed", f"the gateway answered {status!r}")
        self.screen.say("It answered with two proofs, and the gateway confirmed:")
        self.screen.facts(code="HMAC-SHA-256 with Khmac", signature="ECDSA P-256 with Kprivate")
        self.screen.keys(
            "the code was computed anew inside the token and compared; the signature was verified there with "
            "Kpublic. Then the gateway forgot the content and kept its hash."
        )

    def hear(self, callbacks: CallbackReceiver, jwks: dict[str, Any], transaction: str) -> None:
        """Receive the callback and say what was verified."""
        self.screen.step("The bank hears of it")
        callback = callbacks.wait_for("transaction.confirmed", transaction=transaction)[0]
        receipt = callback.receipt
        expect(receipt is not None, "the callback holds no receipt")
        assert receipt is not None
        signed = base64.b64decode(receipt["content_sha256"])
        expect(signed == self.document.digest, "the receipt is about another content")
        self.screen.say("A sealed callback came, and both of its signatures are good:")
        self.screen.facts(
            callback=f"{callback.type}, {callback.id}",
            seal="Standard Webhooks, HMAC-SHA-256 with the callback secret",
            receipt=f"JWS ES256, verified with the key published as {jwks['keys'][0]['kid']}",
            says=f"{receipt['operation']} by {receipt['user']}; verified: {', '.join(receipt['verified'])}",
            about=f"SHA-256 {signed.hex()}",
        )
        compact = callback.body["data"]["receipt"]
        (self.folder / "receipt.jws").write_text(compact + "\n")
        self.screen.keys("the receipt was signed inside the token with the gateway's receipt key.")

    def verify_again(self, bank: Bank, transaction: str) -> None:
        """Verify the evidence once more, and a forged one."""
        self.screen.step("The bank verifies the evidence again, as it could in ten years")
        evidence = bank.transaction(transaction)["confirmation"]
        proofs = {name: evidence[name] for name in ("step", "code", "signature")}
        changed = bytearray(self.document.digest)
        changed[0] ^= 1
        cases = {"the document": self.document.digest, "one byte changed": bytes(changed)}
        answers: dict[str, str] = {}
        for name, digest in cases.items():
            content_sha256 = base64.b64encode(digest).decode()
            verdict = bank.verify(transaction, content_sha256=content_sha256, **proofs)
            expect(verdict["valid"] is (digest == self.document.digest), f"{name}: {verdict}")
            checks = (f"{check} {'holds' if held else 'fails'}" for check, held in verdict["checks"].items())
            answers[name] = f"{'valid' if verdict['valid'] else 'not valid'} ({', '.join(checks)})"
        self.screen.facts(**answers)

    def decline(self, bank: Bank, phone: Phone, callbacks: CallbackReceiver) -> None:
        """Ask for something the customer does not want."""
        self.screen.step("A second transaction, which the customer declines")
        sent = bank.create_transaction(USER, text=SECOND, title="Transfer")
        shown = phone.show(sent["id"])
        self.screen.say(f"The phone shows: {shown.text}")
        status = phone.decline(shown)["status"]
        expect(status == "declined", f"the gateway answered {status!r}")
        callbacks.wait_for("transaction.declined", transaction=sent["id"])
        self.screen.say("Declined, with the same proofs as an approval, and the bank has the callback.")

    def look_at_token(self, token: Token) -> None:
        """List what is on the token, as PKCS#11 shows it."""
        self.screen.step("What is on the token")
        found = list_objects(token)
        heads = ("label", "kind", "id", "sensitive", "extractable", "value")
        self.screen.table(heads, [item.row() for item in found])
        leaks = [item.label for item in found if item.could_leave]
        expect(bool(found) and not leaks, f"keys that could leave the token: {leaks}")
        self.screen.keys(
            "no secret or private key on the token can leave it; the database knows them by these ids."
        )


def main() -> int:
    """Run the demo; returns the exit status."""
    options = _options()
    screen, begin = Screen(), time.monotonic()
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, _stop)
    try:
        document = Document.read(options.file, CONTENT_BYTES_MOST)
        with own_folder(options.folder) as folder:
            screen.title(f"Countersign: {document.title} is confirmed on a phone")
            Story(screen, folder, document).tell()
    except KeyboardInterrupt:
        screen.failure("interrupted; the gateway has been stopped")
        return 128 + signal.SIGINT
    except TROUBLES as error:
        screen.failure(str(error))
        return 1
    screen.success(f"Everything worked, in {time.monotonic() - begin:.1f} seconds. No process is left.")
    screen.say(f"Token, database, log and receipt are in {near(folder)}; the next run begins anew there.")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/demo", description="A document confirmed on a phone.")
    parser.add_argument(
        "file", metavar="FILE", nargs="?", type=Path, default=EXAMPLE, help="what is confirmed"
    )
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "var" / "demo", help="where it leaves its things"
    )
    return parser.parse_args()


def _stop(number: int, _frame: object) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
