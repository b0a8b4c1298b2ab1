"""Which C functions do we call ourselves, because python-pkcs11 calls them wrongly or not at all?

python-pkcs11 initialises every module with NULL arguments, which tells it that there will be no threads, and
then releases the GIL in every call; SoftHSM answers by switching its mutexes off, and crashes. Through the
same shared library (dlopen hands out one state per process) we finalise it and initialise it again with OS
locking. C_Login is here as well: `Token.open(user_pin=...)` leaks a session for each refused PIN, keeps the
PIN in an immutable text, and makes `Session.close()` log the whole process out. And C_SignInit with C_Sign:
python-pkcs11 asks C_Sign for the length first, a round trip more with every HSM that is asked for it. For the
same reason session objects that come and go are made here: python-pkcs11 reads ten attributes of each.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from struct import pack

from hsm.faults import error_of

CKR_OK = 0x0
_CKR_GENERAL_ERROR = 0x5
CKR_USER_ALREADY_LOGGED_IN = 0x100
_CKF_OS_LOCKING_OK = 0x2
_CKU_USER = 0x1
# Positions in CK_FUNCTION_LIST (PKCS#11 2.40).
_C_INITIALIZE, _C_FINALIZE, _C_GET_TOKEN_INFO, _C_LOGIN, _C_SIGN_INIT, _C_SIGN = 0, 1, 6, 18, 42, 43
_C_CREATE_OBJECT, _C_COPY_OBJECT, _C_DESTROY_OBJECT, _C_GET_ATTRIBUTE_VALUE = 20, 21, 22, 24
_C_GENERATE_KEY, _C_WRAP_KEY, _C_DERIVE_KEY = 58, 60, 62
_UNAVAILABLE = ctypes.c_ulong(-1).value  # CK_UNAVAILABLE_INFORMATION
_CK_FALSE, _CK_TRUE = 0, 1
_ATTRIBUTE = "LPL"  # CK_ATTRIBUTE, as struct calls its types
_ALIGNED = 8  # bytes: modules read numbers where they stand
# Bytes of what is signed or wrapped here: HMAC-SHA-256, ECDSA over P-256, a key of 32 bytes.
_LONGEST_OUTPUT = 64


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


class _TokenInfo(ctypes.Structure):
    _fields_ = (
        ("names", ctypes.c_char * 96),
        ("flags", ctypes.c_ulong),
        ("most_sessions", ctypes.c_ulong),
        ("sessions", ctypes.c_ulong),
        ("other_counts", ctypes.c_ulong * 4),
        ("total_public", ctypes.c_ulong),
        ("free_public", ctypes.c_ulong),
        ("total_private", ctypes.c_ulong),
        ("free_private", ctypes.c_ulong),
        ("versions_and_time", ctypes.c_char * 20),
    )


class _Mechanism(ctypes.Structure):
    _fields_ = (
        ("mechanism", ctypes.c_ulong),
        ("parameter", ctypes.c_void_p),
        ("parameter_length", ctypes.c_ulong),
    )


class _Attribute(ctypes.Structure):
    _fields_ = (("type", ctypes.c_ulong), ("value", ctypes.c_void_p), ("length", ctypes.c_ulong))


class _Text(ctypes.Structure):
    """CK_KEY_DERIVATION_STRING_DATA."""

    _fields_ = (("data", ctypes.c_void_p), ("length", ctypes.c_ulong))


class DirectCalls:
    """The function list of one loaded module, as C sees it. Every call lets other threads run meanwhile."""

    def __init__(self, functions: ctypes.Array[ctypes.c_void_p]) -> None:
        number, pointer = ctypes.c_ulong, ctypes.c_void_p
        self._functions = functions
        self._sign_init = self._prepared(_C_SIGN_INIT, number, pointer, number)
        self._sign = self._prepared(_C_SIGN, number, pointer, number, pointer, pointer)
        self._create = self._prepared(_C_CREATE_OBJECT, number, pointer, number, pointer)
        self._copy = self._prepared(_C_COPY_OBJECT, number, number, pointer, number, pointer)
        self._destroy = self._prepared(_C_DESTROY_OBJECT, number, number)
        self._read = self._prepared(_C_GET_ATTRIBUTE_VALUE, number, number, pointer, number)
        self._generate = self._prepared(_C_GENERATE_KEY, number, pointer, pointer, number, pointer)
        self._wrap = self._prepared(_C_WRAP_KEY, number, pointer, number, number, pointer, pointer)
        self._derive = self._prepared(_C_DERIVE_KEY, number, pointer, number, pointer, number, pointer)

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
        # Whatever C_Finalize says (a lost device may make it fail), C_Initialize tells whether it worked.
        self._prepared(_C_FINALIZE, ctypes.c_void_p)(None)
        arguments = _InitializeArguments(flags=_CKF_OS_LOCKING_OK)
        return int(self._prepared(_C_INITIALIZE, ctypes.c_void_p)(ctypes.addressof(arguments)))

    def token_numbers(self, slot_id: int) -> dict[str, int | None]:
        """Numbers of C_GetTokenInfo: sessions and bytes of memory; None where the module does not tell.

        Raises PKCS11Error.
        """
        info = _TokenInfo()
        call = self._prepared(_C_GET_TOKEN_INFO, ctypes.c_ulong, ctypes.c_void_p)
        rv = call(slot_id, ctypes.addressof(info))
        if rv != CKR_OK:
            raise error_of(rv)
        names = ("most_sessions", "total_public", "free_public", "total_private", "free_private")
        return {name: None if (value := getattr(info, name)) == _UNAVAILABLE else value for name in names}

    def login(self, session_handle: int, pin: bytearray) -> int:
        """C_Login as the normal user. Returns CK_RV; the caller wipes `pin`."""
        buffer = (ctypes.c_char * len(pin)).from_buffer(pin)
        number = ctypes.c_ulong
        call = self._prepared(_C_LOGIN, number, number, ctypes.c_void_p, number)
        return int(call(session_handle, _CKU_USER, ctypes.addressof(buffer), len(pin)))

    def sign(self, session_handle: int, key_handle: int, mechanism: int, data: bytes, length: int) -> bytes:
        """C_SignInit and C_Sign, into a buffer that is long enough. Raises PKCS11Error.

        `length` is what the mechanism always gives: a module that answers anything else is not believed.
        """
        what = _bare(mechanism)
        room = ctypes.create_string_buffer(_LONGEST_OUTPUT)
        written = ctypes.c_ulong(_LONGEST_OUTPUT)
        rv = self._sign_init(session_handle, ctypes.byref(what), key_handle)
        if rv == CKR_OK:
            rv = self._sign(session_handle, data, len(data), room, ctypes.byref(written))
        if rv != CKR_OK:
            raise error_of(rv)
        if written.value != length:
            raise error_of(_CKR_GENERAL_ERROR)
        return room.raw[:length]

    def create(self, session_handle: int, template: Mapping[int, bytes]) -> int:
        """C_CreateObject from packed attributes; returns the handle. Raises PKCS11Error."""
        attributes, made = _attributes(template), ctypes.c_ulong()
        _check(self._create(session_handle, attributes, len(attributes), ctypes.byref(made)))
        return made.value

    def generate(self, session_handle: int, mechanism: int, template: Mapping[int, bytes]) -> int:
        """C_GenerateKey from packed attributes; returns the handle. Raises PKCS11Error."""
        attributes, made = _attributes(template), ctypes.c_ulong()
        what = ctypes.byref(_bare(mechanism))
        _check(self._generate(session_handle, what, attributes, len(attributes), ctypes.byref(made)))
        return made.value

    def copy(self, session_handle: int, handle: int, template: Mapping[int, bytes]) -> int:
        """C_CopyObject with changed attributes, packed; returns the handle. Raises PKCS11Error."""
        attributes, made = _attributes(template), ctypes.c_ulong()
        _check(self._copy(session_handle, handle, attributes, len(attributes), ctypes.byref(made)))
        return made.value

    def wrap(self, session_handle: int, mechanism: int, wrapping: int, key: int) -> bytes:
        """C_WrapKey, by handles. Raises PKCS11Error."""
        room, size = ctypes.create_string_buffer(_LONGEST_OUTPUT), ctypes.c_ulong(_LONGEST_OUTPUT)
        _check(
            self._wrap(
                session_handle, ctypes.byref(_bare(mechanism)), wrapping, key, room, ctypes.byref(size)
            )
        )
        return room.raw[: size.value]

    def flags(self, session_handle: int, handle: int, names: Sequence[int]) -> list[bool]:
        """C_GetAttributeValue of attributes that are CK_BBOOL. Raises PKCS11Error, also for what is no CK_BBOOL."""
        attributes = _attributes(dict.fromkeys(names, b"\xff"))
        _check(self._read(session_handle, handle, attributes, len(attributes)))
        values = attributes._values.raw[: _ALIGNED * len(names) : _ALIGNED]  # type: ignore[attr-defined]  # noqa: SLF001
        if not {*values} <= {_CK_FALSE, _CK_TRUE}:  # it would pass for "cannot be extracted"
            raise error_of(_CKR_GENERAL_ERROR)
        return [value == _CK_TRUE for value in values]

    def derive(
        self, session_handle: int, base: int, mechanism: int, data: bytes, template: Mapping[int, bytes]
    ) -> int:
        """C_DeriveKey by a mechanism that takes a text; returns the handle of the new key. Raises PKCS11Error."""
        text = ctypes.create_string_buffer(data, len(data))
        parameter = _Text(ctypes.addressof(text), len(data))
        what = _Mechanism(mechanism, ctypes.addressof(parameter), ctypes.sizeof(parameter))
        attributes, made = _attributes(template), ctypes.c_ulong()
        size = len(attributes)
        _check(self._derive(session_handle, ctypes.byref(what), base, attributes, size, ctypes.byref(made)))
        return made.value

    def destroy(self, session_handle: int, handle: int) -> None:
        """C_DestroyObject. Raises PKCS11Error."""
        _check(self._destroy(session_handle, handle))

    def _prepared(self, position: int, *types: type) -> Callable[..., int]:
        address = self._functions[position] or 0
        return ctypes.CFUNCTYPE(ctypes.c_ulong, *types)(address)


def _check(rv: int) -> None:
    if rv != CKR_OK:
        raise error_of(rv)


@cache
def _bare(mechanism: int) -> _Mechanism:
    """Return the mechanism without parameters; modules only read it."""
    return _Mechanism(mechanism, None, 0)


def _attributes(template: Mapping[int, bytes]) -> ctypes.Array[_Attribute]:
    """Return an array of CK_ATTRIBUTE, which keeps the values it points to."""
    places = [value + bytes(-len(value) % _ALIGNED) for value in template.values()]
    values = ctypes.create_string_buffer(b"".join(places))
    address, numbers = ctypes.addressof(values), list[int]()
    for kind, value, place in zip(template, template.values(), places, strict=True):
        numbers += (kind, address, len(value))
        address += len(place)
    # One structure after the other by ctypes takes four times as long.
    made = (_Attribute * len(template)).from_buffer_copy(pack(_ATTRIBUTE * len(template), *numbers))
    made._values = values  # type: ignore[attr-defined]  # noqa: SLF001  # as long as the array lives
    return made


def _function_list(library: ctypes.CDLL) -> ctypes._Pointer[_FunctionList]:
    pointer = ctypes.POINTER(_FunctionList)()
    rv = library.C_GetFunctionList(ctypes.byref(pointer))
    if rv != CKR_OK or not pointer:
        raise OSError(f"C_GetFunctionList answered 0x{rv:x}")
    return pointer
