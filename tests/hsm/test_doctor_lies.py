"""Does the doctor find out a module that lies, lacks something, crashes or hangs? On the shim over SoftHSM, and NSS."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pkcs11 import Attribute, Mechanism

from hsm.doctor.findings import Result
from hsm.doctor.verdict import Mode, Status, Usable
from hsm.errors import DeliveryUnsafe
from tests.hsm import nss
from tests.hsm.examining import Examined, examined
from tests.hsm.misbehaving import Shim
from tests.hsm.programs import Program
from tests.tokens import MODULE, pin_file_of

ACTION_PROHIBITED = 0x1B
CALLS_THAT_KEEP_A_COPY = ("C_CopyObject", "C_SetAttributeValue", "C_UnwrapKey")


@pytest.fixture
def shim(shim_module: str) -> Shim:
    shim = Shim()
    shim.forget()
    return shim


@pytest.fixture
def uri(token_uri: str, shim_module: str) -> str:
    return token_uri.replace(MODULE, shim_module)


def deliveries(found: Examined) -> set[Usable]:
    return {found.usable(mode) for mode in (Mode.ONLINE, Mode.QR, Mode.QR_AND_CODE)}


def test_the_shim_alone_changes_nothing(shim: Shim, uri: str):
    assert examined(uri).not_as_it_should() == {"memory", "rsa_wrap"}


def test_a_module_that_wraps_what_it_calls_non_extractable_is_refused(shim: Shim, uri: str):
    shim.lie(wrap_anything=1)
    found = examined(uri)
    assert "the module lies" in found.remark("never_extractable")
    assert "the kept key can still be wrapped" in found.remark("deliver_copy_down")
    assert {verdict.usable for verdict in found.verdicts.values()} == {Usable.NOT_USABLE}
    assert found.status() is Status.NOT_USABLE


@pytest.mark.parametrize(
    "mechanism",
    [
        "SHA256_HMAC",
        pytest.param("ECDSA", marks=pytest.mark.long),
        pytest.param("GENERIC_SECRET_KEY_GEN", marks=pytest.mark.long),
    ],
)
def test_a_module_without_a_mechanism_that_is_always_needed_is_refused(shim: Shim, uri: str, mechanism: str):
    shim.lie(without=Mechanism[mechanism])
    found = examined(uri)
    assert found.findings["mechanisms"].figures[mechanism] is False
    assert mechanism in found.why(Mode.RESIDENT)
    assert found.status() is Status.NOT_USABLE


def test_without_aes_key_wrap_only_sealed_delivery_is_left(shim: Shim, uri: str):
    shim.lie(without=Mechanism.AES_KEY_WRAP)
    found = examined(uri)
    assert found.usable(Mode.RESIDENT) is Usable.WORKS
    assert deliveries(found) == {Usable.NOT_USABLE}
    assert "only `sealed`" in found.why(Mode.QR)
    assert found.usable(Mode.SEALED) is Usable.RESTRICTED
    assert found.status() is Status.RESTRICTED


def test_without_derivation_the_derived_mode_is_left_out(shim: Shim, uri: str):
    shim.lie(without=Mechanism.AES_ECB_ENCRYPT_DATA)
    found = examined(uri)
    assert found.usable(Mode.DERIVED) is Usable.NOT_USABLE
    assert found.status() is Status.WORKS
    assert found.status(Mode.DERIVED) is Status.RESTRICTED


def test_a_token_in_a_strict_mode_imports_no_key_and_delivers_only_sealed(
    shim: Shim, uri: str, misbehaving_program: Callable[[str], Program]
):
    shim.lie(refuse_secrets=1)
    found = examined(uri)
    assert found.remark("import_key") == "refused (AttributeValueInvalid); strict FIPS modes forbid it"
    assert found.remark("mac_known_answer") == "no key was imported; compared with software through RSA-OAEP"
    assert found.usable(Mode.RESIDENT) is Usable.WORKS
    assert deliveries(found) == {Usable.NOT_USABLE}
    assert "only `sealed`" in found.why(Mode.ONLINE)
    assert found.usable(Mode.SEALED) is Usable.RESTRICTED
    assert found.usable(Mode.DERIVED) is Usable.NOT_USABLE
    assert found.status() is Status.RESTRICTED
    source = (
        "shim.lie(refuse_secrets=1); device = Device.open(URI); print(device.strategy, device.can_derive)"
    )
    assert misbehaving_program(source).lines() == ["None False"]


def test_where_no_copy_can_be_made_the_next_way_is_taken(shim: Shim, uri: str):
    shim.order("C_CopyObject", answer=ACTION_PROHIBITED)
    found = examined(uri)
    assert found.result("deliver_copy_down") is Result.FAILS
    assert "delivered by flip" in found.why(Mode.ONLINE)
    shim.order("C_SetAttributeValue", answer=ACTION_PROHIBITED)
    found = examined(uri)
    assert "unwrapping again" in found.why(Mode.ONLINE)
    assert deliveries(found) == {Usable.RESTRICTED}
    assert "unwrapping again" in found.why(Mode.SEALED)
    assert found.status() is Status.RESTRICTED


def test_where_keys_are_wrapped_and_no_copy_is_safe_no_gateway_starts(
    shim: Shim, uri: str, misbehaving_program: Callable[[str], Program]
):
    shim.order(*CALLS_THAT_KEEP_A_COPY, answer=ACTION_PROHIBITED)
    found = examined(uri)
    assert found.status() is Status.NOT_USABLE
    assert "deliver_unwrap_again" in found.why(Mode.RESIDENT)
    order = f"shim.order(*{CALLS_THAT_KEEP_A_COPY}, answer={ACTION_PROHIBITED})\n"
    assert DeliveryUnsafe.__name__ in misbehaving_program(order + "Device.open(URI)").errors


@pytest.mark.parametrize(
    ("attribute", "trial"),
    [(Attribute.ALLOWED_MECHANISMS, "allowed_mechanisms"), (Attribute.MODIFIABLE, "modifiable")],
)
def test_an_attribute_that_means_nothing_is_a_restriction(
    shim: Shim, uri: str, attribute: Attribute, trial: str
):
    shim.lie(forget=attribute)
    found = examined(uri)
    assert found.result(trial) is Result.FAILS
    assert trial in found.why(Mode.RESIDENT)
    assert found.status() is Status.RESTRICTED


def test_public_keys_that_must_be_public_objects_are_no_obstacle(shim: Shim, uri: str):
    shim.lie(refuse_private_publics=1)
    found = examined(uri)
    assert found.result("public_key_private") is Result.FAILS
    assert found.result("stored_public_key") is Result.WORKS
    assert found.status() is Status.WORKS


def test_a_module_that_muddles_threads_up_is_refused(shim: Shim, uri: str):
    shim.lie(muddle=1)
    found = examined(uri)
    assert found.result("threads") is Result.FAILS
    assert found.findings["threads"].figures["wrong"] > 0
    assert found.status() is Status.NOT_USABLE


def test_too_few_sessions_are_a_restriction(shim: Shim, uri: str):
    shim.lie(most_sessions=4)
    found = examined(uri)
    assert found.remark("sessions") == "only 4: one of them holds the login, so 3 can work"
    assert found.status() is Status.RESTRICTED


def test_a_crash_is_told_and_leaves_nothing_behind(shim: Shim, uri: str, token_uri: str):
    shim.lie(crash="C_CopyObject")
    found = examined(uri)
    assert found.remark("module") == "the module ended the process (SIGABRT) in the trial deliver_copy_down"
    assert found.result("deliver_copy_down") is Result.FAILS
    assert "latency_mac" not in found.findings
    assert found.status() is Status.NOT_USABLE
    assert examined(token_uri).findings["leftovers"].figures == {"removed": 0}


def test_a_hang_is_told_and_leaves_nothing_behind(shim: Shim, uri: str, token_uri: str):
    shim.order("C_SetAttributeValue", hang=1)  # first in never_extractable, whose key is a session object
    found = examined(uri, trial_seconds=6)  # a process has to start in it as well
    assert found.remark("module") == "the module did not come back within 6 s in the trial never_extractable"
    assert found.status() is Status.NOT_USABLE
    assert examined(token_uri).findings["leftovers"].figures == {"removed": 0}


def test_the_pin_is_tried_once(shim: Shim, uri: str):
    pin_file_of(uri).write_text("wrong")
    assert examined(uri).result("login") is Result.FAILS
    assert shim.calls("C_Login") == 1


def test_the_size_of_a_key_is_found_where_the_module_tells_its_room(shim: Shim, uri: str):
    shim.lie(free_memory=1_000_000)
    figures = examined(uri).findings["memory"].figures
    assert (figures["total"], figures["bytes_per_object"]) == (1_000_000, 1000)


@pytest.fixture
def nss_uri(tmp_path: Path) -> Iterator[str]:
    if nss.SOFTOKN is None:
        pytest.skip("NSS is not installed: Debian's libnss3")
    environment = dict(os.environ)
    yield nss.create_token(tmp_path)
    nss.restore(environment)


def test_nss_is_refused_because_it_wraps_what_it_calls_non_extractable(nss_uri: str):
    found = examined(nss_uri)
    assert found.result("mac_known_answer") is Result.WORKS
    assert "the module lies" in found.remark("never_extractable")
    assert found.result("allowed_mechanisms") is Result.FAILS
    assert found.status() is Status.NOT_USABLE
