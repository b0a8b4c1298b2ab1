"""Is every return code of a module taken for what it is?"""

from __future__ import annotations

import pytest
from pkcs11 import exceptions as p

from hsm.faults import Fault, classify, rv_of

CASES = [
    (p.SignatureInvalid(), Fault.CALLER, 0xC0),
    (p.KeyUnextractable(), Fault.CALLER, 0x6A),
    (p.TemplateInconsistent(), Fault.CALLER, 0xD1),
    (p.ObjectHandleInvalid(), Fault.STALE_HANDLE, 0x82),
    (p.KeyHandleInvalid(), Fault.STALE_HANDLE, 0x60),
    (p.SessionHandleInvalid(), Fault.SESSION, 0xB3),
    (p.OperationActive(), Fault.SESSION, 0x90),
    (p.UserNotLoggedIn(), Fault.LOGIN, 0x101),
    (p.PinIncorrect(), Fault.PIN, 0xA0),
    (p.PinLocked(), Fault.PIN, 0xA4),
    (p.DeviceError(), Fault.DEVICE, 0x30),
    (p.TokenNotPresent(), Fault.DEVICE, 0xE0),
    (p.GeneralError(), Fault.AMBIGUOUS, 0x05),
    (p.FunctionFailed(), Fault.AMBIGUOUS, 0x06),
    (p.PKCS11Error("Unmapped error code 0x68"), Fault.CALLER, 0x68),
    (p.PKCS11Error("Unmapped error code 0x1b"), Fault.CALLER, 0x1B),
    (p.PKCS11Error("Unmapped error code 0x80000387"), Fault.DEVICE, 0x80000387),
    (p.PKCS11Error("Unmapped error code 0x1ff"), Fault.AMBIGUOUS, 0x1FF),
    (p.PKCS11Error("pkcs11 was not initialized"), Fault.DEVICE, None),
    (p.PKCS11Error(), Fault.AMBIGUOUS, None),
    (p.ExceededMaxIterations(), Fault.AMBIGUOUS, None),
]


@pytest.mark.parametrize(("error", "fault", "rv"), CASES, ids=repr)
def test_the_class_of_a_return_code(error: p.PKCS11Error, fault: Fault, rv: int | None):
    assert classify(error) is fault
    assert rv_of(error) == rv
