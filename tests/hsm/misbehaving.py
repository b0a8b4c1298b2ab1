"""How does a test make a module slow, failing or hanging, and how does it count the calls into it?

The shim in `shim/shim.c` stands between us and SoftHSM; orders are written into a file that it has mapped, so
they take effect with the next call. It is compiled once per test run.
"""

from __future__ import annotations

import mmap
import os
import shutil
import struct
import subprocess
from pathlib import Path

SOURCE = Path(__file__).parent / "shim" / "shim.c"
# CK_FUNCTION_LIST (PKCS#11 2.40), in its order.
_NAMES = """
    C_Initialize C_Finalize C_GetInfo C_GetFunctionList C_GetSlotList C_GetSlotInfo C_GetTokenInfo
    C_GetMechanismList C_GetMechanismInfo C_InitToken C_InitPIN C_SetPIN C_OpenSession C_CloseSession
    C_CloseAllSessions C_GetSessionInfo C_GetOperationState C_SetOperationState C_Login C_Logout
    C_CreateObject C_CopyObject C_DestroyObject C_GetObjectSize C_GetAttributeValue C_SetAttributeValue
    C_FindObjectsInit C_FindObjects C_FindObjectsFinal C_EncryptInit C_Encrypt C_EncryptUpdate
    C_EncryptFinal C_DecryptInit C_Decrypt C_DecryptUpdate C_DecryptFinal C_DigestInit C_Digest
    C_DigestUpdate C_DigestKey C_DigestFinal C_SignInit C_Sign C_SignUpdate C_SignFinal C_SignRecoverInit
    C_SignRecover C_VerifyInit C_Verify C_VerifyUpdate C_VerifyFinal C_VerifyRecoverInit C_VerifyRecover
    C_DigestEncryptUpdate C_DecryptDigestUpdate C_SignEncryptUpdate C_DecryptVerifyUpdate C_GenerateKey
    C_GenerateKeyPair C_WrapKey C_UnwrapKey C_DeriveKey C_SeedRandom C_GenerateRandom C_GetFunctionStatus
    C_CancelFunction C_WaitForSlotEvent
"""
FUNCTIONS = _NAMES.split()
ALWAYS = -1
_FIELDS = ("calls", "microseconds", "answer", "times", "skip", "after", "hang", "hanging")
_ORDER = struct.Struct("=QQQqQQQQ")
_LIES = (
    "refuse_secrets",
    "wrap_anything",
    "without",
    "forget",
    "refuse_private_publics",
    "muddle",
    "crash",
    "most_sessions",
    "free_memory",
)
_SIZE = _ORDER.size * len(FUNCTIONS) + 8 * len(_LIES)
MODULE, CONTROL = "PKCS11_SHIM_MODULE", "PKCS11_SHIM_CONTROL"


def build(directory: Path, module: str) -> Path:
    """Compile the shim and make it ready to load, here and in child processes: over `module`, unordered."""
    shim = directory / "shim.so"
    compiler = shutil.which("gcc") or shutil.which("cc")
    assert compiler, "the tests need a C compiler: scripts/setup installs gcc"
    command = [
        compiler,
        "-O2",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-shared",
        "-fPIC",
        str(SOURCE),
        "-o",
        str(shim),
    ]
    subprocess.run([*command, "-ldl"], check=True)
    (directory / "control").write_bytes(bytes(_SIZE))
    os.environ |= {MODULE: module, CONTROL: str(directory / "control")}
    return shim


class Shim:
    """The orders and counts of the shim of this environment, from the process that loaded it or any other."""

    def __init__(self) -> None:
        with Path(os.environ[CONTROL]).open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)

    def order(self, *functions: str, **fields: int) -> None:
        """Give orders to functions, all if none is named: microseconds, answer, times, skip, after, hang."""
        if "answer" in fields:
            fields = {"times": ALWAYS} | fields
        for name in functions or FUNCTIONS:
            # The answer last: the call must not see it before how often it is meant.
            for field in sorted(fields, key=lambda each: each == "answer"):
                self._put(name, field, fields[field])

    def lie(self, **lies: int | str) -> None:
        """Tell lies, see `shim/lies.h`; a function is named as text."""
        for name, told in lies.items():
            number = FUNCTIONS.index(told) if isinstance(told, str) else told
            struct.pack_into("=Q", self._memory, _SIZE - 8 * (len(_LIES) - _LIES.index(name)), number)

    def obey_no_more(self) -> None:
        """Take every order back."""
        for field in ("answer", "times", "skip", "after", "hang", "microseconds"):
            for name in FUNCTIONS:
                self._put(name, field, 0)

    def forget(self) -> None:
        """Take every order back and count from 0; for a process that begins."""
        self._memory[:] = bytes(len(self._memory))

    def calls(self, *functions: str) -> int:
        """Return how often these functions were called, all if none is named."""
        return sum(self._get(name, "calls") for name in functions or FUNCTIONS)

    def hanging(self) -> int:
        """Return how many calls do not come back."""
        return sum(self._get(name, "hanging") for name in FUNCTIONS)

    def _get(self, function: str, field: str) -> int:
        order = _ORDER.unpack_from(self._memory, FUNCTIONS.index(function) * _ORDER.size)
        return int(order[_FIELDS.index(field)])

    def _put(self, function: str, field: str, value: int) -> None:
        offset = FUNCTIONS.index(function) * _ORDER.size + _FIELDS.index(field) * 8
        struct.pack_into("=q", self._memory, offset, value)
