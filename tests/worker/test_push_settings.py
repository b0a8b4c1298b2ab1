"""Does a push service that cannot be used keep the worker from starting, with a line that says what to mend?"""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from gateway.clock import SystemClock
from gateway.settings import Settings, SettingsError
from gateway.worker.push.configured import make_providers
from tests.worker.push_bench import vapid_key


def _pem(curve: ec.EllipticCurve) -> bytes:
    key = ec.generate_private_key(curve)
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def _public_pem() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _said(**named: object) -> str:
    with pytest.raises(SettingsError) as refused:
        make_providers(Settings(**named), SystemClock())  # type: ignore[arg-type]
    return str(refused.value)


def test_without_settings_there_is_no_push_service():
    assert make_providers(Settings(), SystemClock()) == {}


@pytest.mark.parametrize("content", [b"", b"top secret", _pem(ec.SECP384R1()), _public_pem()])
def test_a_file_without_a_key_on_p_256_is_refused_and_not_quoted(tmp_path: Path, content: bytes):
    file = tmp_path / "key.pem"
    file.write_bytes(content)
    said = _said(push_web_key_file=file, push_web_contact="mailto:a@bank.example")
    assert said == "Cannot use the file of COUNTERSIGN_PUSH_WEB_KEY_FILE: it does not hold what it should."
    named = {"push_apns_key_id": "A", "push_apns_team_id": "B", "push_apns_topic": "C"}
    assert "COUNTERSIGN_PUSH_APNS_KEY_FILE" in _said(push_apns_key_file=file, **named)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"project_id": "top secret"}', b"\xff"])
def test_a_file_that_is_no_service_account_is_refused_and_not_quoted(tmp_path: Path, content: bytes):
    file = tmp_path / "account.json"
    file.write_bytes(content)
    said = _said(push_fcm_account_file=file)
    assert (
        said == "Cannot use the file of COUNTERSIGN_PUSH_FCM_ACCOUNT_FILE: it does not hold what it should."
    )


def test_a_file_that_is_not_there_is_named_by_its_setting(tmp_path: Path):
    said = _said(push_fcm_account_file=tmp_path / "none")
    assert said == "Cannot use the file of COUNTERSIGN_PUSH_FCM_ACCOUNT_FILE: No such file or directory."


def test_a_key_without_what_belongs_to_it_is_refused(tmp_path: Path):
    vapid_key(tmp_path)
    file = tmp_path / "vapid.pem"
    assert "set COUNTERSIGN_PUSH_WEB_CONTACT as well" in _said(push_web_key_file=file)
    assert "set COUNTERSIGN_PUSH_APNS_KEY_ID as well" in _said(push_apns_key_file=file)


def test_both_usual_forms_of_a_pem_key_are_read(tmp_path: Path):
    file = tmp_path / "vapid.pem"
    vapid_key(tmp_path)
    for content in (file.read_bytes(), _pem(ec.SECP256R1())):
        file.write_bytes(content)
        settings = Settings(push_web_key_file=file, push_web_contact="https://bank.example/")
        assert set(make_providers(settings, SystemClock())) == {"web_push"}
