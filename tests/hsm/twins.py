"""How does a test get two tokens with the same keys, one of which can be killed?

It copies the files of a SoftHSM token, and has the copy served behind p11-kit.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from hsm import module
from tests.hsm.remote import CLIENT, Remote

_LABEL_LENGTH = 32


def copy_token(token_uri: str, directory: Path) -> Path:
    """Copy a token of this process's SoftHSM with all its keys; returns the configuration under which it is seen."""
    label = token_uri.removeprefix("pkcs11:token=").partition("?")[0].encode().ljust(_LABEL_LENGTH)
    config = Path(os.environ["SOFTHSM2_CONF"])
    tokens = directory / "tokens"
    found = [
        each.parent
        for each in (config.parent / "tokens").glob("*/token.object")
        if label in each.read_bytes()
    ]
    (one,) = found
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
