"""Where does a test get a token of NSS, the module that wraps what it calls non-extractable?

NSS must be told at C_Initialize where its database is, which the shim does; then the database is made as it is opened.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.hsm import misbehaving

SOFTOKN = next((str(path) for path in Path("/usr/lib").glob("*/libsoftokn3.so")), None)
_PARAMETERS, _PIN = "PKCS11_SHIM_PARAMETERS", "a pin for nss"
# In a process of its own, because NSS is never unloaded.
_INITIALIZE = """
import sys, pkcs11
tokens = [slot.get_token() for slot in pkcs11.lib(sys.argv[1]).get_slots(token_present=True)]
(token,) = [token for token in tokens if token.label == "NSS Certificate DB"]
with token.open(rw=True, so_pin="") as session:
    session.init_pin(sys.argv[2])
"""


def create_token(directory: Path) -> str:
    """Make a token with its database in the directory; returns its URI. Changes the environment for the shim."""
    assert SOFTOKN
    shim = misbehaving.build(directory, SOFTOKN)
    (directory / "database").mkdir()
    os.environ[_PARAMETERS] = (
        f"configdir='sql:{directory}/database' certPrefix='' keyPrefix='' secmod='secmod.db' flags="
    )
    subprocess.run([sys.executable, "-c", _INITIALIZE, str(shim), _PIN], check=True)
    (directory / "pin").write_text(_PIN)
    return f"pkcs11:token=NSS%20Certificate%20DB?module-path={shim}&pin-source=file:{directory}/pin"


def restore(environment: dict[str, str]) -> None:
    """Put back what `create_token` changed."""
    for name in (_PARAMETERS, misbehaving.MODULE, misbehaving.CONTROL):
        os.environ.pop(name, None)
        if name in environment:
            os.environ[name] = environment[name]
