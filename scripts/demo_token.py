"""Where are the demo's keys? A SoftHSM token: made through its own tool, looked at through PKCS#11.

PINs are typed at the tool's prompts, as a person would: on its command line every user of the machine could read
them.
"""

import os
import pty
import secrets
import subprocess
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pkcs11
from pkcs11 import Attribute, ObjectClass
from pkcs11.exceptions import AttributeSensitive

ROOT = Path(__file__).resolve().parent.parent
LABEL = "countersign-demo"
PLACES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so")
PROMPTS = (b"enter SO PIN: ", b"enter user PIN: ")
LOCAL_MODES = 3  # position in what tcgetattr gives
HIDDEN_SECONDS = 5
GIVEN_OUT = "GIVEN OUT"
KINDS = {
    ObjectClass.SECRET_KEY: "HMAC key",
    ObjectClass.PRIVATE_KEY: "private key",
    ObjectClass.PUBLIC_KEY: "public key",
}


class TokenTrouble(Exception):
    """The token could not be made; the text says why."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token: the module, SoftHSM's configuration and the file with the PIN."""

    module: Path
    configuration: Path
    pin_file: Path

    @property
    def uri(self) -> str:
        """The token as the gateway's setting names it."""
        return f"pkcs11:token={LABEL}?module-path={self.module}&pin-source=file:{self.pin_file}"


@dataclass(frozen=True, slots=True)
class KeyObject:
    """One object on the token, as PKCS#11 shows it; `value` tells what came of asking for its value."""

    label: str
    kind: str
    id: bytes
    sensitive: bool | None
    extractable: bool | None
    value: str

    @property
    def could_leave(self) -> bool:
        """Whether anybody who is logged in could get a secret out."""
        return bool(self.extractable) or self.sensitive is False or self.value == GIVEN_OUT

    def row(self) -> tuple[str, ...]:
        """The object as a line of a table."""
        words = {True: "yes", False: "no", None: "-"}
        return (
            self.label,
            self.kind,
            self.id[:4].hex(),
            words[self.sensitive],
            words[self.extractable],
            self.value,
        )


def make_token(folder: Path) -> Token:
    """Make an empty token in the folder, with random PINs; the user's PIN goes into a file of mode 0600."""
    module = next((Path(place) for place in PLACES if Path(place).exists()), None)
    if module is None:
        raise TokenTrouble("there is no SoftHSM module; install Debian's package softhsm2")
    token = Token(module, folder / "softhsm2.conf", folder / "pin")
    tokens = folder / "tokens"
    tokens.mkdir(mode=0o700)
    template = (ROOT / "softhsm-config" / "softhsm2.conf.template").read_text()
    token.configuration.write_text(template.replace("@TOKEN_DIRECTORY@", str(tokens)))
    pin = secrets.token_hex(8)
    descriptor = os.open(token.pin_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(pin + "\n")
    # Nobody needs the security officer again: the officer's PIN is forgotten.
    _initialise(token, {PROMPTS[0]: secrets.token_hex(8), PROMPTS[1]: pin})
    return token


def _initialise(token: Token, answers: dict[bytes, str]) -> None:
    """Run softhsm2-util at a terminal of its own and answer what it asks, each PIN twice."""
    ours, its = pty.openpty()
    command = ["softhsm2-util", "--init-token", "--free", "--label", LABEL]
    environment = {**os.environ, "SOFTHSM2_CONF": str(token.configuration)}
    with subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=environment) as process:
        os.close(its)
        try:
            said = _converse(ours, answers)
        finally:
            os.close(ours)  # the tool, should it still wait, reads the end and gives up
    if process.returncode:
        raise TokenTrouble(f"softhsm2-util failed: {said.strip()}")


def _converse(terminal: int, answers: dict[bytes, str]) -> str:
    """Answer prompts until the tool has ended; returns what it said after the last of them."""
    said = b""
    for heard in _heard(terminal):
        said += heard
        for prompt, answer in answers.items():
            if said.endswith(prompt):
                _wait_until_hidden(terminal)
                os.write(terminal, answer.encode() + b"\n")
                said = b""
    return said.decode(errors="replace")


def _heard(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            heard = os.read(terminal, 4096)
        except OSError:  # how Linux says that nobody is on the other side any more
            return
        if not heard:
            return
        yield heard


def _wait_until_hidden(terminal: int) -> None:
    """The prompt comes a moment before the tool stops the echo, and what is typed meanwhile may be lost."""
    deadline = time.monotonic() + HIDDEN_SECONDS
    while termios.tcgetattr(terminal)[LOCAL_MODES] & termios.ECHO:
        if time.monotonic() > deadline:
            raise TokenTrouble("softhsm2-util asks for a PIN but would show it")
        time.sleep(0.01)


def list_objects(token: Token) -> list[KeyObject]:
    """Log in as the gateway does and look at everything on the token."""
    os.environ["SOFTHSM2_CONF"] = str(token.configuration)
    opened = pkcs11.lib(str(token.module)).get_token(token_label=LABEL)
    with opened.open(user_pin=token.pin_file.read_text().strip()) as session:
        found = [_look_at(item) for item in list(session.get_objects())]
    return sorted(found, key=lambda item: (item.label, item.kind))


def _look_at(item: pkcs11.Object) -> KeyObject:
    is_public = item.object_class is ObjectClass.PUBLIC_KEY
    return KeyObject(
        label=item[Attribute.LABEL],
        kind=KINDS[item.object_class] if item.object_class in KINDS else str(item.object_class),
        id=item[Attribute.ID],
        sensitive=None if is_public else item[Attribute.SENSITIVE],
        extractable=None if is_public else item[Attribute.EXTRACTABLE],
        value="public" if is_public else _ask_for_value(item),
    )


def _ask_for_value(item: pkcs11.Object) -> str:
    try:
        len(item[Attribute.VALUE])
    except AttributeSensitive:
        return "refused"
    return GIVEN_OUT
