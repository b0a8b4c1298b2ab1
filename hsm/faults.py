"""What does a module's return code mean for us: whose fault is it, and what has to be repaired?

Return codes alone do not tell a lost device from bad input (modules answer GENERAL_ERROR, FUNCTION_FAILED and
even DEVICE_ERROR to a malformed cryptogram), so two of the classes only say "ask the canary first".
"""

from __future__ import annotations

import re
from enum import Enum, auto

from pkcs11 import exceptions as p

from hsm.errors import DeviceUnavailable


class Fault(Enum):
    """The class of a failure; `hsm/guard.py` knows the remedy of each."""

    CALLER = auto()  # this input, this key, this template: nothing to repair
    STALE_HANDLE = auto()  # the object handle no longer means the key
    SESSION = auto()  # this session is broken; another one may work
    LOGIN = auto()  # the token has forgotten our login
    DEVICE = auto()  # the device seems lost: the canary decides
    AMBIGUOUS = auto()  # could be anything: the canary decides
    PIN = auto()  # the PIN is wrong: stop for good


_MAPPED: dict[Fault, dict[type[p.PKCS11Error], int]] = {
    Fault.STALE_HANDLE: {
        p.ObjectHandleInvalid: 0x82,
        p.KeyHandleInvalid: 0x60,
        p.WrappingKeyHandleInvalid: 0x113,
        p.UnwrappingKeyHandleInvalid: 0xF0,
    },
    Fault.SESSION: {
        p.SessionHandleInvalid: 0xB3,
        p.SessionClosed: 0xB0,
        p.SessionCount: 0xB1,
        p.OperationActive: 0x90,
        p.OperationNotInitialized: 0x91,
    },
    Fault.LOGIN: {p.UserNotLoggedIn: 0x101},
    Fault.PIN: {p.PinIncorrect: 0xA0, p.PinLocked: 0xA4, p.PinExpired: 0xA3, p.UserPinNotInitialized: 0x102},
    Fault.DEVICE: {
        p.DeviceError: 0x30,
        p.DeviceRemoved: 0x32,
        p.TokenNotPresent: 0xE0,
        p.TokenNotRecognised: 0xE1,
        p.SlotIDInvalid: 0x03,
    },
    Fault.AMBIGUOUS: {
        p.GeneralError: 0x05,
        p.FunctionFailed: 0x06,
        p.HostMemory: 0x02,
        p.DeviceMemory: 0x31,
        p.FunctionCancelled: 0x50,
    },
    Fault.CALLER: {
        p.SignatureInvalid: 0xC0,
        p.SignatureLenRange: 0xC1,
        p.DataInvalid: 0x20,
        p.DataLenRange: 0x21,
        p.EncryptedDataInvalid: 0x40,
        p.EncryptedDataLenRange: 0x41,
        p.WrappedKeyInvalid: 0x110,
        p.WrappedKeyLenRange: 0x112,
        p.KeyUnextractable: 0x6A,
        p.KeyNotWrappable: 0x69,
        p.KeySizeRange: 0x62,
        p.KeyTypeInconsistent: 0x63,
        p.AttributeReadOnly: 0x10,
        p.AttributeSensitive: 0x11,
        p.AttributeTypeInvalid: 0x12,
        p.AttributeValueInvalid: 0x13,
        p.TemplateIncomplete: 0xD0,
        p.TemplateInconsistent: 0xD1,
        p.MechanismInvalid: 0x70,
        p.MechanismParamInvalid: 0x71,
        p.ArgumentsBad: 0x07,
        p.DomainParamsInvalid: 0x130,
        p.FunctionNotSupported: 0x54,
        p.TokenWriteProtected: 0xE2,
        p.SessionReadOnly: 0xB5,
    },
}
_CODE_OF = {kind: rv for kinds in _MAPPED.values() for kind, rv in kinds.items()}
_KIND_OF = {rv: kind for kind, rv in _CODE_OF.items()}
_FAULT_OF = {kind: fault for fault, kinds in _MAPPED.items() for kind in kinds}


class SearchFailed(p.PKCS11Error):
    """A search ended with a code that says nothing. It was given nothing that could be wrong: another may do better.

    SoftHSM answers so to who looks at a key just when another process makes it, and leaves the search open.
    """


_FAULT_OF[SearchFailed] = Fault.SESSION

# Codes for which python-pkcs11 has no class; it puts the number into the text.
_UNMAPPED = {
    0x0A: Fault.CALLER,  # CANT_LOCK
    0x1B: Fault.CALLER,  # ACTION_PROHIBITED
    0x68: Fault.CALLER,  # KEY_FUNCTION_NOT_PERMITTED
    0x140: Fault.CALLER,  # CURVE_NOT_SUPPORTED
    0x190: Fault.DEVICE,  # CRYPTOKI_NOT_INITIALIZED
}
_VENDOR_DEFINED = 0x8000_0000
_NOT_INITIALIZED = "not initialized"


def rv_of(error: p.PKCS11Error) -> int | None:
    """Return the CK_RV behind `error`, or None if the library does not tell it."""
    known = _CODE_OF.get(type(error))
    if known is not None:
        return known
    number = re.search(r"0x([0-9a-fA-F]+)", str(error))
    return int(number[1], 16) if number else None


def named(error: Exception) -> str:
    """Return the name of an error, and the CK_RV behind it if there is one."""
    rv = rv_of(error) if isinstance(error, p.PKCS11Error) else None
    return type(error).__name__ if rv is None else f"{type(error).__name__}, 0x{rv:x}"


def outage(error: Exception) -> DeviceUnavailable:
    """Return what a caller is told of an error of a device that is not well."""
    return DeviceUnavailable(f"the device does not answer ({named(error)})")


def error_of(rv: int) -> p.PKCS11Error:
    """Return the error that python-pkcs11 raises for a CK_RV, for those calls that we make ourselves.

    >>> rv_of(error_of(0x30)), rv_of(error_of(0x80000387)) == 0x80000387
    (48, True)
    """
    kind = _KIND_OF.get(rv)
    return p.PKCS11Error(f"Unmapped error code 0x{rv:x}") if kind is None else kind()


def classify(error: p.PKCS11Error) -> Fault:
    """Return the class of `error`. An unknown code is ambiguous: the canary decides.

    >>> classify(p.KeyHandleInvalid())
    <Fault.STALE_HANDLE: 2>
    """
    known = _FAULT_OF.get(type(error))
    if known is not None:
        return known
    rv = rv_of(error)
    if rv is None:
        return Fault.DEVICE if _NOT_INITIALIZED in str(error).lower() else Fault.AMBIGUOUS
    return Fault.DEVICE if rv >= _VENDOR_DEFINED else _UNMAPPED.get(rv, Fault.AMBIGUOUS)
