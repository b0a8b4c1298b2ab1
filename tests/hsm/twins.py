"""How does a test get two tokens with the same keys, one of which can be killed?

It copies the files of a SoftHSM token, and has the copy served behind p11-kit.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from hsm import module
from hsm.device import Device
from hsm.limits import Limits
from hsm.pace import Pace
from hsm.tokens import Tokens
from tests.hsm.remote import CLIENT, Remote

_LABEL_LENGTH = 32
QUICK = Pace(first=0.05, longest=0.2, most_initialisations=1000)
LIMITS = Limits(sessions=4, wait_seconds=5, call_seconds=60, pace=QUICK)
# A search that fails because the device is lost is heard of by python-pkcs11 once more, when it is collected.
NOISE = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@dataclass
class Pair:
    """The first token, which can be killed, is a copy of the second."""

    first: Remote
    near: Device  # the second, without the first
    tokens: Tokens

    def state(self, number: int) -> str:
        return self.tokens.standings()[number - 1].state

    @property
    def serving(self) -> int:
        return next((each.number for each in self.tokens.standings() if each.serves), 0)


def folder_of(token_uri: str) -> Path:
    """Return the folder in which this process's SoftHSM keeps a token."""
    label = _label_of(token_uri).encode().ljust(_LABEL_LENGTH)
    tokens = Path(os.environ["SOFTHSM2_CONF"]).parent / "tokens"
    (one,) = (each.parent for each in tokens.glob("*/token.object") if label in each.read_bytes())
    return one


def twin_beside(token_uri: str, serial: bytes) -> tuple[str, Path]:
    """Copy a token within the same SoftHSM, for programs to come; returns the twin's URI and folder."""
    label = _label_of(token_uri)
    twin = label.replace("test", "twin")
    one = folder_of(token_uri)
    copied = one.with_name(f"{one.name}-twin")
    shutil.copytree(one, copied)
    about = (copied / "token.object").read_bytes()
    about = about.replace(label.encode(), twin.encode()).replace(serial, serial[:-6] + b"abcdef")
    (copied / "token.object").write_bytes(about)
    return token_uri.replace(f"token={label}", f"token={twin}"), copied


def _label_of(token_uri: str) -> str:
    return token_uri.removeprefix("pkcs11:token=").partition("?")[0]


def copy_token(token_uri: str, directory: Path) -> Path:
    """Copy a token of this process's SoftHSM with all its keys; returns the configuration under which it is seen."""
    config, one = Path(os.environ["SOFTHSM2_CONF"]), folder_of(token_uri)
    tokens = directory / "tokens"
    shutil.copytree(one, tokens / one.name, dirs_exist_ok=True)
    copied = directory / "softhsm2.conf"
    copied.write_text(config.read_text().replace(str(config.parent / "tokens"), str(tokens)))
    return copied


def served_copy(token_uri: str, directory: Path, socket_directory: Path) -> Remote:
    """Copy a token and put the copy behind a server: a twin that can be killed, stopped and cut off.

    The client's module reads the server's address once, so it is the same in all tests of a process.
    """
    remote = Remote(socket_directory, token_uri, copy_token(token_uri, directory))
    remote.start()
    client = module.load(CLIENT)
    with client.lock.exclusive(10):
        client.reinitialize()  # it still knows the server of an earlier test
        client.reinitialized.clear()
    return remote


def opened(first: Remote, token_uri: str, limits: Limits = LIMITS) -> Tokens:
    """Both, as a gateway opens them: its own keys are asked for, then all are compared."""
    tokens = Tokens.open([first.uri, token_uri], limits)
    for name in ("binding", "webhook"):
        tokens.house_key(name)
    tokens.house_pair("receipt")
    tokens.compare()
    return tokens
