"""How does a test run code that may crash its process?"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.tokens import MODULE, pin_file_of

ROOT = Path(__file__).parents[2]
_SECONDS = 180

# What every program finds: the token, plain python-pkcs11, our device.
_PREAMBLE = """
import collections, ctypes, hashlib, hmac, os, secrets, sys, threading, time
import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from hsm.device import Device
from hsm.keys import KeyKind, KeyRef

URI, MODULE, PIN_FILE = sys.argv[1:4]
LABEL = URI.removeprefix("pkcs11:token=").partition("?")[0]
PIN = open(PIN_FILE).read().strip()
done = []  # appending is atomic, printing is not


def plain_key(session, label, stored=True):
    return session.generate_key(
        KeyType.GENERIC_SECRET, 256, label=label, id=secrets.token_bytes(16), store=stored,
        mechanism=Mechanism.GENERIC_SECRET_KEY_GEN, capabilities=MechanismFlag.SIGN,
    )


def token_folder():
    configured = [line.split("=", 1) for line in open(os.environ["SOFTHSM2_CONF"]) if "=" in line]
    tokens = {name.strip(): value.strip() for name, value in configured}["directories.tokendir"]
    named = {each: open(f"{tokens}/{each}/token.object", "rb").read() for each in os.listdir(tokens)}
    (name,) = [each for each in named if LABEL.encode() in named[each]]
    return f"{tokens}/{name}"


def in_threads(number, work):
    threads = [threading.Thread(target=work, args=(each,)) for each in range(number)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
"""


@dataclass(frozen=True)
class Program:
    """What became of a program; a negative `code` is the signal that ended it."""

    code: int
    output: str
    errors: str

    @property
    def crashed(self) -> bool:
        return self.code < 0

    def lines(self) -> list[str]:
        """Return what a program that ended well printed."""
        assert self.code == 0, self.errors
        return self.output.split("\n")[:-1]


def run(source: str, uri: str, environment: dict[str, str] | None = None) -> Program:
    """Run `source` to its end; also what it printed before `os._exit` is there."""
    done = subprocess.run(
        [sys.executable, "-u", "-c", _PREAMBLE + source, uri, MODULE, str(pin_file_of(uri))],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    return Program(done.returncode, done.stdout, done.stderr)
