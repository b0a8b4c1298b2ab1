"""Where do the settings come from, and what is refused?"""

import pytest
from structlog.testing import capture_logs

from gateway.assembly import open_database
from gateway.settings import SettingsError, load_settings


def test_settings_come_from_the_environment_that_is_given_and_from_no_other(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COUNTERSIGN_ISSUER", "the process's own")
    assert load_settings({"countersign_workers": "3", "PATH": "/bin"}).workers == 3
    assert load_settings({}).issuer == "Countersign"
    assert load_settings().issuer == "the process's own"


def test_an_unknown_setting_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COUNTERSIGN_NOBODY_KNOWS", "1")
    assert load_settings({})
    with pytest.raises(SettingsError, match="COUNTERSIGN_WORKRES"):
        load_settings({"COUNTERSIGN_WORKRES": "3"})


def test_a_value_that_cannot_be_used_is_named_but_not_shown():
    with pytest.raises(SettingsError, match="COUNTERSIGN_WORKERS") as refusal:
        load_settings({"COUNTERSIGN_WORKERS": "hunter2"})
    assert "hunter2" not in str(refusal.value)


def test_several_tokens_are_named_in_the_order_in_which_they_serve_and_each_once():
    one, two = "pkcs11:token=one two?module-path=/m.so", "PKCS11:token=three?module-path=/m.so"
    named = load_settings({"COUNTERSIGN_TOKEN_URI": f" {one}\n  {two} "})
    assert named.token_uris() == (one, two)
    assert load_settings({}).token_uris() == ()
    with pytest.raises(SettingsError, match="names a token twice"):
        load_settings({"COUNTERSIGN_TOKEN_URI": f"{one} {two} {one}"})


def test_a_pin_in_the_address_of_a_token_is_refused_before_anything_shows_it():
    for written in ("pkcs11:token=a?pin-value=1234", "pkcs11:token=a?module-path=/m.so&PIN-value=1234"):
        with pytest.raises(SettingsError, match="must not hold a PIN") as refusal:
            load_settings({"COUNTERSIGN_TOKEN_URI": written})
        assert "1234" not in str(refusal.value)
    assert load_settings({"COUNTERSIGN_TOKEN_URI": "pkcs11:token=pin-value?pin-source=file:/p"}).token_uris()


@pytest.mark.parametrize(
    "url",
    [
        "hunter2",
        "sqlite://",
        "sqlite:///",
        "mysql://user@host/name",
        "postgresql+psycopg://user@host:hunter2/name",
    ],
)
def test_a_database_that_nobody_could_open_is_refused_by_the_name_of_its_setting(url: str):
    with pytest.raises(SettingsError, match=r"COUNTERSIGN_DATABASE_URL.*postgresql") as refusal:
        load_settings({"COUNTERSIGN_DATABASE_URL": url})
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize("proxies", ["10.0.0.0/8", "proxy.bank.example", "10.0.0.5 10.0.0.6"])
def test_a_proxy_that_would_never_be_recognised_is_refused(proxies: str):
    with pytest.raises(SettingsError, match="COUNTERSIGN_TRUSTED_PROXIES"):
        load_settings({"COUNTERSIGN_TRUSTED_PROXIES": proxies})
    assert load_settings({"COUNTERSIGN_TRUSTED_PROXIES": "10.0.0.5, ::1,"}).trusted_proxies


def test_a_mistyped_setting_is_told_with_the_one_that_may_be_meant():
    with pytest.raises(SettingsError, match=r"Is COUNTERSIGN_TOKEN_SESSIONS meant\?"):
        load_settings({"COUNTERSIGN_TOKEN_SESSION": "3"})


@pytest.mark.parametrize("name", ["password", "sslpassword"])
def test_a_password_among_the_parameters_of_the_database_is_refused(name: str):
    with pytest.raises(SettingsError, match="must not hold a password") as refusal:
        load_settings({"COUNTERSIGN_DATABASE_URL": f"postgresql+psycopg://user@host/name?{name}=hunter2"})
    assert "hunter2" not in str(refusal.value)


def test_an_empty_value_is_the_default_as_the_reference_says():
    given = {
        "COUNTERSIGN_TLS_CERTIFICATE_FILE": "",
        "COUNTERSIGN_TLS_KEY_FILE": "",
        "COUNTERSIGN_WORKERS": "",
    }
    settings = load_settings(given)
    assert (settings.tls_certificate_file, settings.tls_key_file, settings.workers) == (None, None, 1)
    assert settings.shown()["COUNTERSIGN_TLS_KEY_FILE"] == ""


def test_an_address_to_which_no_phone_would_talk_is_refused():
    with pytest.raises(SettingsError, match="CLIENT_URL: must begin with https"):
        load_settings({"COUNTERSIGN_CLIENT_URL": "http://phones.bank.example"})
    for own in (
        "http://127.0.0.1:8444",
        "http://[::1]:8444",
        "http://localhost",
        "https://phones.bank.example",
    ):
        assert load_settings({"COUNTERSIGN_CLIENT_URL": own}).client_url == own


HERE = [
    "postgresql://me@/name",
    "postgresql+psycopg://me@localhost/name",
    "postgresql+psycopg://me@127.0.0.1:5432/name",
    "postgresql+psycopg://me@[::1]/name",
    "postgresql+psycopg://me@/name?host=/run/postgresql",
    "postgresql+psycopg://me@/name?host=localhost:5432",
]
THERE = [
    "postgresql+psycopg://me@db.example/name",
    "postgresql+psycopg://me@/name?host=127.0.0.1,db.example:5432",
]


WARNINGS = {
    **dict.fromkeys(HERE, 0),
    **dict.fromkeys(THERE, 1),
    f"{THERE[0]}?sslmode=require": 1,
    f"{THERE[0]}?sslmode=verify-full": 0,
}


@pytest.mark.parametrize("url", WARNINGS)
def test_a_database_over_a_network_that_nobody_verifies_is_told(url: str, monkeypatch: pytest.MonkeyPatch):
    for name in ("PGHOST", "PGSSLMODE"):
        monkeypatch.delenv(name, raising=False)
    with capture_logs() as logs:
        open_database(load_settings({"COUNTERSIGN_DATABASE_URL": url})).close()
    assert len(logs) == WARNINGS[url]
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    with capture_logs() as logs:
        open_database(load_settings({"COUNTERSIGN_DATABASE_URL": THERE[0]})).close()
    assert logs == []
