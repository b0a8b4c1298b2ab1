"""Does the doctor find what a module can, and say rightly what follows for the gateway? On modules that are honest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from hsm.device import Device
from hsm.doctor.bench import why
from hsm.doctor.catalogue import TRIALS
from hsm.doctor.findings import Finding, Result
from hsm.doctor.verdict import Mode, Status, Usable
from hsm.errors import InvalidUri, SelfTestFailed
from tests.hsm.examining import Examined, examined, leave_objects, objects_of_the_doctor
from tests.hsm.remote import Remote
from tests.tokens import pin_file_of

DELIVERIES = (Mode.ONLINE, Mode.QR, Mode.QR_AND_CODE)


@pytest.fixture(scope="module")
def softhsm(device_uri: str, device: Device) -> Examined:
    return examined(device_uri)


def test_every_trial_of_the_catalogue_is_made(softhsm: Examined):
    assert list(softhsm.findings) == list(TRIALS)


def test_softhsm_does_everything_but_oaep_with_sha_256(softhsm: Examined):
    assert softhsm.not_as_it_should() == {"memory", "rsa_wrap"}
    assert softhsm.findings["rsa_wrap"].figures["hashes"] == ["SHA-1"]
    assert {mode for mode in Mode if softhsm.usable(mode) is Usable.WORKS} == {*Mode} - {Mode.SEALED}
    assert softhsm.usable(Mode.SEALED) is Usable.RESTRICTED


def test_the_status_is_about_the_modes_that_are_needed(softhsm: Examined):
    assert softhsm.status() is Status.WORKS
    assert softhsm.status(Mode.DERIVED) is Status.WORKS
    assert softhsm.status(Mode.RESIDENT, Mode.SEALED) is Status.RESTRICTED


def test_what_is_on_the_token_is_counted(softhsm: Examined):
    figures = softhsm.findings["inventory"].figures
    assert "countersign-binding-1 (secret-key)" in figures["house_keys"]
    assert (figures["twice"], figures["others"]) == ([], 0)


def test_times_and_sessions_are_measured(softhsm: Examined):
    for trial in ("latency_mac", "latency_verify", "latency_sign", "latency_generate", "search"):
        figures = softhsm.findings[trial].figures
        assert 0 < figures["median_ms"] <= figures["p95_ms"]
        assert figures["n"] == 5
    assert softhsm.findings["sessions"].figures["opened"] == 8
    assert softhsm.findings["threads"].figures["wrong"] == 0


def test_nothing_of_a_run_is_left_on_the_token(own_device: Device, token_uri: str):
    before = own_device.warm()
    examined(token_uri)
    assert objects_of_the_doctor(own_device) == 0
    assert own_device.warm() == before


def test_what_an_earlier_run_left_is_removed(own_device: Device, token_uri: str):
    leave_objects(own_device, 3)
    found = examined(token_uri)
    assert found.findings["leftovers"].figures == {"removed": 3}
    assert objects_of_the_doctor(own_device) == 0


def test_a_run_whose_caller_is_killed_clears_up(own_device: Device, token_uri: str):
    source = (
        "import sys; from hsm.doctor.apart import examine_apart; from tests.hsm.examining import QUICK\n"
        "for each in examine_apart(sys.argv[1], QUICK, 60): print(each.trial, flush=True)\n"
    )
    run = subprocess.Popen([sys.executable, "-c", source, token_uri], stdout=subprocess.PIPE, text=True)
    with run:
        assert run.stdout is not None
        for line in run.stdout:
            if line.strip() == "deliver_copy_down":
                run.send_signal(signal.SIGKILL)
    # The process of the trials ends by itself; a run that comes after it finds nothing that is not its own.
    assert examined(token_uri).result("inventory") is Result.WORKS
    assert objects_of_the_doctor(own_device) == 0


def test_a_wrong_pin_ends_it(token_uri: str):
    pin_file_of(token_uri).write_text("nor-is-this-the-pin")
    found = examined(token_uri)
    assert list(found.findings) == ["module", "token", "login"]
    assert "was refused" in found.remark("login")
    assert "nor-is-this-the-pin" not in str(found)
    assert found.status() is Status.NOT_USABLE
    assert found.why(Mode.RESIDENT).startswith("login: The PIN of the token was refused")


@pytest.mark.parametrize(
    ("old", "new", "trial"),
    [
        ("token=test-", "token=no-", "token"),
        ("/libsofthsm2.so", "/no.so", "module"),
        (".pin", ".no", "login"),
    ],
)
def test_what_cannot_be_opened_is_named(token_uri: str, old: str, new: str, trial: str):
    found = examined(token_uri.replace(old, new))
    assert list(found.findings)[-1] == trial
    assert found.result(trial) is Result.FAILS
    assert found.status() is Status.NOT_USABLE


def test_a_uri_without_a_token_is_refused():
    with pytest.raises(InvalidUri):
        examined("pkcs11:?module-path=/usr/lib/module.so")


def test_softhsm_behind_p11_kit_serves_users_and_delivers_only_sealed(remote: Remote):
    found = examined(remote.uri)
    assert found.usable(Mode.RESIDENT) is Usable.WORKS
    assert found.usable(Mode.DERIVED) is Usable.NOT_USABLE
    assert [found.usable(mode) for mode in DELIVERIES] == [Usable.NOT_USABLE] * 3
    assert found.why(Mode.ONLINE) == "aes_wrap: refused; only `sealed` delivery is possible"
    assert found.usable(Mode.SEALED) is Usable.RESTRICTED
    assert found.remark("threads").startswith("one at a time")
    assert found.status() is Status.RESTRICTED


def test_a_finding_is_of_a_trial_that_there_is():
    with pytest.raises(ValueError, match="no such trial"):
        Finding(trial="magic", result=Result.WORKS)


def test_the_environment_of_the_run_is_the_callers(softhsm: Examined, new_token: Callable[[], str]):
    assert os.environ["SOFTHSM2_CONF"]
    assert softhsm.remark("token") == "SoftHSM project SoftHSM v2"


def test_of_an_unforeseen_error_only_the_name_is_told():
    assert why(ValueError("0123 is what was read")) == "ValueError"
    assert (
        why(SelfTestFailed("It computes wrongly.", "Do not use it.")) == "It computes wrongly. Do not use it."
    )
