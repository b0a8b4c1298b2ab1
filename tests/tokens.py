"""Where do the tests get fresh tokens from?

SoftHSM reads its configuration once per process, so there is one token directory per test process, named in
SOFTHSM2_CONF before the module is loaded (child processes inherit it and see the same tokens). A token that
another program creates would stay unseen until the module is initialised again, which would end every open
device; so tokens are created in this process, with C_InitToken.
"""

from __future__ import annotations

import ctypes
import os
import secrets
from itertools import count
from pathlib import Path

import pkcs11

from hsm import module

MODULE = next(
    (
        path
        for path in ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so")
        if Path(path).exists()
    ),
    "/usr/lib/softhsm/libsofthsm2.so",
)
HOUSE_KEYS = ("binding", "webhook", "activation", "credential", "decoy")
HOUSE_PAIR = "receipt"

_SO_PIN = "countersign-officer"
_C_INIT_TOKEN = 9  # position in CK_FUNCTION_LIST
_numbers = count(1)


def configure(directory: Path) -> None:
    """Make SoftHSM keep its tokens under `directory`, for this process and its children."""
    template = Path(__file__).parents[1] / "softhsm-config" / "softhsm2.conf.template"
    (directory / "tokens").mkdir(mode=0o700)
    text = template.read_text().replace("@TOKEN_DIRECTORY@", str(directory / "tokens"))
    (directory / "softhsm2.conf").write_text(text)
    os.environ["SOFTHSM2_CONF"] = str(directory / "softhsm2.conf")


def create_token(directory: Path) -> str:
    """Initialise an empty token with a random PIN in a file of its own; returns its URI."""
    label = f"test-{os.getpid()}-{next(_numbers)}"
    pin = secrets.token_hex(8)
    loaded = module.load(MODULE)
    with loaded.lock.exclusive(60):
        slot = _free_slot(loaded)
        _init_token(loaded, slot.slot_id, label)
        with slot.get_token().open(rw=True, so_pin=_SO_PIN) as session:
            session.init_pin(pin)
    pin_file = directory / f"{label}.pin"
    pin_file.write_text(pin + "\n")
    pin_file.chmod(0o600)
    return f"pkcs11:token={label}?module-path={MODULE}&pin-source=file:{pin_file}"


def pin_file_of(uri: str) -> Path:
    """Return the PIN file that a URI of `create_token` names."""
    return Path(uri.rpartition("pin-source=file:")[2])


def _free_slot(loaded: module.Module) -> pkcs11.Slot:
    slots = loaded._library.get_slots(token_present=True)
    return next(slot for slot in slots if not slot.get_token().flags & pkcs11.TokenFlag.TOKEN_INITIALIZED)


def _init_token(loaded: module.Module, slot_id: int, label: str) -> None:
    text = ctypes.c_char_p
    types = (ctypes.c_ulong, text, ctypes.c_ulong, text)
    function = ctypes.CFUNCTYPE(ctypes.c_ulong, *types)(loaded.direct._functions[_C_INIT_TOKEN])
    rv = function(slot_id, _SO_PIN.encode(), len(_SO_PIN), label.encode().ljust(32))
    assert rv == 0, f"C_InitToken answered 0x{rv:x}"
