"""Does somebody learn that the certificate of the doors has ended, or will, before callers do?"""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from structlog.testing import capture_logs

from gateway.certificate import end_of, require_lasting, tell_end
from gateway.clock import SystemClock
from gateway.settings import Settings, SettingsError, load_settings
from tests.gateways import Authority, Gateway


def _settings(folder: Path, ends: datetime) -> Settings:
    leaf = trustme.CA().issue_cert("127.0.0.1", not_before=datetime(2020, 1, 1, tzinfo=UTC), not_after=ends)
    leaf.private_key_and_cert_chain_pem.write_to_path(folder / "both.pem")
    return load_settings({"COUNTERSIGN_TLS_CERTIFICATE_FILE": str(folder / "both.pem")})


@pytest.mark.parametrize(
    ("days", "told"), [(-1, "the certificate has ended"), (5, "the certificate ends soon"), (30, None)]
)
def test_an_end_that_is_near_is_told_at_the_start(tmp_path: Path, days: int, told: str | None) -> None:
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)
    found = end_of(_settings(tmp_path, ends))
    assert found == ends
    with capture_logs() as lines:
        tell_end(found, SystemClock())
    assert [line["event"] for line in lines] == ([] if told is None else [told])


def test_a_certificate_that_has_ended_does_not_pass_the_check(tmp_path: Path) -> None:
    require_lasting(load_settings({}), SystemClock())
    require_lasting(_settings(tmp_path, datetime.now(UTC) + timedelta(days=1)), SystemClock())
    with pytest.raises(SettingsError, match="2020-03-01 00:00 UTC"):
        require_lasting(_settings(tmp_path, datetime(2020, 3, 1, tzinfo=UTC)), SystemClock())


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    key = load_pem_private_key(authority.key_file.read_bytes(), None)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word"))
    authority.key_file.write_bytes(locked)
    names = {"CERTIFICATE": authority.chain_file, "KEY": authority.key_file}
    settings = load_settings({f"COUNTERSIGN_TLS_{name}_FILE": str(file) for name, file in names.items()})
    with pytest.raises(SettingsError, match="without a passphrase"):
        end_of(settings)


def test_the_check_of_the_command_line_looks_at_it(tmp_path: Path, new_token: Callable[[], str]) -> None:
    gateway = Gateway(tmp_path, new_token(), Authority.make(tmp_path))
    gateway.extra["COUNTERSIGN_CLIENT_CA_FILE"] = str(tmp_path / "nowhere.pem")
    gateway.extra["COUNTERSIGN_PUSH_WEB_KEY_FILE"] = str(gateway.authority.key_file)
    gateway.extra["COUNTERSIGN_PUSH_WEB_CONTACT"] = "mailto:push@bank.example"
    shown = gateway.run("check", check=False).stdout
    assert "push: ok\n" in shown
    assert "client_ca: Cannot read the file of COUNTERSIGN_CLIENT_CA_FILE: No such file" in shown
    assert f"COUNTERSIGN_TOKEN_URI={gateway.token_uri}\n" in shown
    gateway.authority.chain_file.write_text("no certificate")
    told = json.loads(gateway.run("check", "--json", check=False).stdout)["checks"]["certificate"]
    assert "COUNTERSIGN_TLS_CERTIFICATE_FILE" in told
