"""Which C functions do we call ourselves, because python-pkcs11 calls them wrongly or not at all?

python-pkcs11 initialises every module with NULL arguments, which tells it that there will be no threads, and
then releases the GIL in every call; SoftHSM answers by switching its mutexes off, and crashes. Through the
same shared library (dlopen hands out one state per process) we finalise it and initialise it again with OS
locking. C_Login is here as well: `Token.open(user_pin=...)` leaks a session for each refused PIN, keeps the
PIN in an immutable text, and makes `Session.close()` log the whole process out.
"""

from __future__ import annotations

import ctypes

CKR_OK = 0x0
CKR_USER_ALREADY_LOGGED_IN = 0x100
_CKF_OS_LOCKING_OK = 0x2
_CKU_USER = 0x1
_C_INITIALIZE, _C_FINALIZE, _C_LOGIN = 0, 1, 18  # positions in CK_FUNCTION_LIST (PKCS#11 2.40)


class _FunctionList(ctypes.Structure):
    _fields_ = (("version", ctypes.c_ubyte * 2), ("functions", ctypes.c_void_p * 68))


class _InitializeArguments(ctypes.Structure):
    _fields_ = (
        ("create_mutex", ctypes.c_void_p),
        ("destroy_mutex", ctypes.c_void_p),
        ("lock_mutex", ctypes.c_void_p),
        ("unlock_mutex", ctypes.c_void_p),
        ("flags", ctypes.c_ulong),
        ("reserved", ctypes.c_void_p),
    )


class DirectCalls:
    """The function list of one loaded module, as C sees it."""

    def __init__(self, functions: ctypes.Array[ctypes.c_void_p]) -> None:
        self._functions = functions

    @classmethod
    def of(cls, path: str) -> DirectCalls | None:
        """Return the calls of the module at `path`, or None if it hands out a new instance at each request.

        p11-kit's client does the latter: what we initialised there would not be what python-pkcs11 uses. It
        locks by itself, so it needs nothing from us. Raises OSError or AttributeError if it is no module.
        """
        library = ctypes.CDLL(path)
        first, second = _function_list(library), _function_list(library)
        if ctypes.addressof(first.contents) != ctypes.addressof(second.contents):
            return None
        return cls(first.contents.functions)

    def initialize_for_threads(self) -> int:
        """C_Finalize, then C_Initialize with CKF_OS_LOCKING_OK; voids every handle. Returns CK_RV."""
        self._call(_C_FINALIZE, (ctypes.c_void_p,), None)
        arguments = _InitializeArguments(flags=_CKF_OS_LOCKING_OK)
        return self._call(_C_INITIALIZE, (ctypes.c_void_p,), ctypes.addressof(arguments))

    def login(self, session_handle: int, pin: bytearray) -> int:
        """C_Login as the normal user. Returns CK_RV; the caller wipes `pin`."""
        buffer = (ctypes.c_char * len(pin)).from_buffer(pin)
        types = (ctypes.c_ulong, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong)
        return self._call(_C_LOGIN, types, session_handle, _CKU_USER, ctypes.addressof(buffer), len(pin))

    def _call(self, position: int, types: tuple[type, ...], *arguments: int | None) -> int:
        address = self._functions[position] or 0
        function = ctypes.CFUNCTYPE(ctypes.c_ulong, *types)(address)
        return int(function(*arguments))


def _function_list(library: ctypes.CDLL) -> ctypes._Pointer[_FunctionList]:
    pointer = ctypes.POINTER(_FunctionList)()
    rv = library.C_GetFunctionList(ctypes.byref(pointer))
    if rv != CKR_OK or not pointer:
        raise OSError(f"C_GetFunctionList answered 0x{rv:x}")
    return pointer
