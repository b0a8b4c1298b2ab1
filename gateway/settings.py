"""What was configured: every setting, read once from the environment, frozen, with an unknown name refused.

Secrets are never values here: a setting names the file that holds them.
"""

import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from gateway.client_url import require_client_url
from gateway.database_url import holds_password, is_database, is_line_open

PREFIX = "COUNTERSIGN_"
_ISSUER_BYTES = 64
_NEXT_URI = re.compile(r"\s+(?=pkcs11:)", re.IGNORECASE)  # a label may have spaces
_MOST_TOKENS = 8
_OWN = "Value error, "  # what pydantic puts before the words of the checks below
_PIN = re.compile(r"[:;?&]\s*pin-value\s*=", re.IGNORECASE)


class SettingsError(Exception):
    """The settings cannot be used; the text says which one and how to mend it."""


class Settings(BaseSettings):
    """Every setting of a gateway process; the environment's name is the field's with ``COUNTERSIGN_`` before it."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    data_dir: Path = Field(Path("var"), description="Folder of the embedded database.")
    database_url: str = Field(
        "",
        description="SQLAlchemy URL without a password: `sqlite:///path` or `postgresql+psycopg://user@host/name`. "
        "Empty: SQLite in `data_dir`.",
    )
    database_password_file: Path | None = Field(
        None, description="File with the database password, where the database asks for one."
    )
    database_connections: int = Field(
        8, ge=1, le=100, description="Database connections of a process; two more for a moment."
    )
    token_uri: str = Field(
        "",
        description="RFC 7512 URI of the token: `pkcs11:token=LABEL?module-path=/path/module.so"
        "&pin-source=file:/path/pin`. Several with the same keys, separated by spaces: the first that can serves.",
    )
    token_sessions: int = Field(8, ge=1, le=1000, description="PKCS#11 sessions of a process.")
    token_waiting_most: int = Field(
        64,
        ge=0,
        le=10_000,
        description="Most pieces of work that wait for a session, and most requests for keys that wait to be served "
        "together; more get 503 at once.",
    )
    token_wait_seconds: float = Field(5, gt=0, le=60, description="Most seconds one of them waits.")
    token_call_seconds: float = Field(
        30,
        ge=1,
        le=600,
        description="A single call to the token that takes longer hangs: the process ends, to be started anew.",
    )
    token_derived_most: int = Field(
        6000,
        ge=1,
        le=1_000_000,
        description="Most keys of `derived` users that a process keeps in the token's memory: three for each user at "
        "work. A key that is not among them is made anew when it is needed.",
    )
    issuer: str = Field(
        "Countersign", min_length=1, max_length=64, description="Name shown to users on their phones."
    )
    client_url: str = Field(
        "https://127.0.0.1:8444", max_length=200, description="Address of the client door as phones reach it."
    )
    client_ca_file: Path | None = Field(
        None,
        description="PEM certificate of the CA of the client door; phones then accept that CA alone. "
        "Leave empty with a public CA.",
    )
    application_bind: str = Field("127.0.0.1:8443", description="Address the application door listens on.")
    client_bind: str = Field("127.0.0.1:8444", description="Address the client door listens on.")
    tls_certificate_file: Path | None = Field(None, description="PEM chain of both doors; empty: no TLS.")
    tls_key_file: Path | None = Field(None, description="PEM key that belongs to the chain.")
    failed_requests_per_minute: int = Field(
        300,
        ge=1,
        description="Requests that fail to authenticate, from one address in one minute and process, after which "
        "the door refuses the address for the rest of the minute.",
    )
    trusted_proxies: str = Field(
        "", description="Comma-separated addresses whose `X-Forwarded-For` is believed (the DMZ proxy)."
    )
    metrics_bind: str = Field(
        "",
        pattern=r"^$|^.+:\d{1,5}$",
        description="Address at which this process publishes its figures for Prometheus, without TLS and credentials; "
        "empty: nowhere. Each of several `workers` takes the next port that is free.",
    )
    canary_seconds: float = Field(
        10,
        ge=1,
        le=3600,
        description="How often a process has its token compute something it knows the answer to, and asks the database "
        "whether there are new versions of the gateway's own keys.",
    )
    workers: int = Field(1, ge=1, le=64, description="Processes of `serve application` and `serve client`.")
    content_bytes_most: int = Field(
        16 * 1024 * 1024, ge=1024, le=64 * 1024 * 1024, description="Most bytes of a transaction's content."
    )
    large_requests_most: int = Field(
        8,
        ge=1,
        le=1000,
        description="Requests of applications with more than 64 KiB of JSON that a process reads at a time; one "
        "application has at most half of them, the others wait.",
    )
    uploads_most: int = Field(
        100,
        ge=1,
        le=10_000,
        description="Most contents of one application (`POST /v1/contents`) that no transaction has used.",
    )
    upload_bytes_most: int = Field(
        256 * 1024 * 1024,
        ge=64 * 1024 * 1024,
        description="Most bytes of them in all. One without a Content-Length counts as the largest there may be "
        "until it has come.",
    )
    pending_bytes_most: int = Field(
        16 * 1024**3,
        ge=64 * 1024 * 1024,
        description="Most bytes, about, of the contents over 64 KiB of one application's pending transactions.",
    )
    event_streams_most: int = Field(
        100, ge=1, le=10_000, description="Most event streams (`GET /v1/events/stream`) of a process."
    )
    event_streams_per_application_most: int = Field(
        10, ge=1, le=10_000, description="Most of them of one application, in a process."
    )
    event_stream_seconds_most: float = Field(
        900, ge=1, le=86_400, description="How long one stays open; the application then opens the next."
    )
    callback_ca_file: Path | None = Field(
        None, description="PEM CA certificates that callbacks trust instead of the system's."
    )
    callback_private_addresses: bool = Field(
        default=False, description="Allow callbacks to loopback and private addresses (for trying out)."
    )
    callback_seconds_most: int = Field(10, ge=1, le=120, description="Seconds a callback may take.")
    push_web_key_file: Path | None = Field(
        None, description="PEM private key on P-256 under which Web Push is sent (VAPID); empty: no Web Push."
    )
    push_web_contact: str = Field(
        "",
        pattern=r"^$|^mailto:[!-~]+@[!-~]+$|^https://[!-~]+$",
        description="Whom a push service can turn to, `mailto:` or `https:`; needed with the key.",
    )
    push_web_hosts: str = Field(
        "",
        description="Comma-separated names of the push services that Web Push may go to, those below them included; "
        "empty: any with a public address.",
    )
    push_fcm_account_file: Path | None = Field(
        None, description="JSON file of the service account for Firebase Cloud Messaging; empty: no FCM."
    )
    push_fcm_url: str = Field(
        "https://fcm.googleapis.com", pattern="^https://.+$", description="Where FCM is reached."
    )
    push_apns_key_file: Path | None = Field(None, description="Apple's `.p8` key; empty: no APNs.")
    push_apns_key_id: str = Field("", description="Id of that key; needed with it.")
    push_apns_team_id: str = Field("", description="Team the key belongs to; needed with it.")
    push_apns_topic: str = Field("", description="Bundle id of the app; needed with the key.")
    push_apns_url: str = Field(
        "https://api.push.apple.com",
        pattern="^https://.+$",
        description="Where APNs is reached; development builds of an app need `https://api.sandbox.push.apple.com`.",
    )
    push_ca_file: Path | None = Field(
        None, description="PEM CA certificates that pushes trust instead of the system's."
    )
    push_private_addresses: bool = Field(
        default=False, description="Allow Web Push to loopback and private addresses (for trying out)."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level logged.")

    @field_validator("issuer")
    @classmethod
    def _fits_a_package(cls, value: str) -> str:
        if len(value.encode()) > _ISSUER_BYTES or not value.isprintable():
            raise ValueError(f"must be printable and at most {_ISSUER_BYTES} bytes in UTF-8")
        return value

    @field_validator("client_url")
    @classmethod
    def _plain_url(cls, value: str) -> str:
        return require_client_url(value)

    @field_validator("token_uri")
    @classmethod
    def _each_once(cls, value: str) -> str:
        if _PIN.search(value):  # at once: the settings are shown, and may be logged
            raise ValueError("must not hold a PIN; put it into a file and name it with pin-source=file:")
        uris = _NEXT_URI.split(value.strip())
        if len(set(uris)) != len(uris):
            raise ValueError("names a token twice")
        if len(uris) > _MOST_TOKENS:
            raise ValueError(f"must not name more than {_MOST_TOKENS} tokens")
        return value

    @field_validator("database_url")
    @classmethod
    def _known_and_without_password(cls, value: str) -> str:
        if not is_database(value):
            raise ValueError("must be sqlite:///PATH or postgresql+psycopg://USER@HOST/NAME")
        if holds_password(value):
            raise ValueError("must not hold a password; name a file in COUNTERSIGN_DATABASE_PASSWORD_FILE")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _addresses(cls, value: str) -> str:
        try:
            for part in filter(None, map(str.strip, value.split(","))):
                ip_address(part)
        except ValueError:
            raise ValueError("must be addresses such as 10.0.0.5, neither names nor networks") from None
        return value

    def token_uris(self) -> tuple[str, ...]:
        """Return the URI of each token, in the order in which they serve."""
        return tuple(_NEXT_URI.split(self.token_uri.strip())) if self.token_uri.strip() else ()

    @property
    def has_open_database_line(self) -> bool:
        """Whether somebody on the network could pass for the database."""
        return is_line_open(self.database_url, os.environ)

    def full_database_url(self) -> str:
        """Return the URL to connect to, with the password from its file. Never log it. Raises SettingsError."""
        if not self.database_url:
            return f"sqlite:///{(self.data_dir / 'countersign.db').absolute()}"
        if self.database_password_file is None:
            return self.database_url
        parts = urlsplit(self.database_url)
        password = quote(_read_password(self.database_password_file), safe="")
        place = f"{parts.username or ''}:{password}@{parts.netloc.rpartition('@')[2]}"
        return urlunsplit(parts._replace(netloc=place))

    def shown(self) -> dict[str, str]:
        """Return every setting by its environment name, as text; no secret is among them."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {PREFIX + name.upper(): "" if value is None else str(value) for name, value in values.items()}


def _read_password(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise SettingsError(
            f"Cannot read the file of {PREFIX}DATABASE_PASSWORD_FILE: {why}. Correct the name or let this user read it."
        ) from None


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from an environment: the process's own, unless another is given.

    Raises:
        SettingsError: an unknown name with the prefix, or a value out of bounds.
    """
    given = os.environ if environment is None else environment
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    unknown = sorted(name for name in given if name.upper().startswith(PREFIX) and name.upper() not in known)
    if unknown:
        near = {like for name in unknown for like in get_close_matches(name.upper(), known, 1)}
        hint = f" Is {', '.join(sorted(near))} meant?" if near else ""
        raise SettingsError(
            f"Unknown setting {', '.join(unknown)}.{hint} Correct or remove it; docs/reference/settings.md lists all."
        )
    source = EnvSettingsSource(Settings)
    source.env_vars = {name.lower(): value for name, value in given.items() if value}  # empty: the default
    try:
        return Settings(_build_sources=((source,), {}))
    except ValidationError as error:
        # The value itself stays out of the text: somebody may have put a secret where a path belongs.
        faults = [(str(fault["loc"][0]).upper(), fault["msg"].removeprefix(_OWN)) for fault in error.errors()]
        lines = [f"{PREFIX}{name}: {wrong}" for name, wrong in faults]
        raise SettingsError("Cannot use the settings. " + "; ".join(lines)) from None
