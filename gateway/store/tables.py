"""What is kept: every table on one page. Times are aware UTC; binary columns hold raw bytes."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


_OFFSET = "+00:00"


class Moment(sa.TypeDecorator[datetime]):
    """An aware UTC datetime; SQLite keeps it without the zone, so the zone is put back on reading."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    # Each row has several. So both ways are one step, without what SQLAlchemy would do before and after it.

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], Any]:
        """Hand the database UTC; a naive datetime is a bug."""
        return _utc_text if dialect.name == "sqlite" else _utc

    def result_processor(self, dialect: Dialect, _coltype: object) -> Callable[[Any], datetime | None]:
        """Hand the house an aware UTC datetime."""
        return _moment_of_text if dialect.name == "sqlite" else _utc


def _utc(value: datetime | None) -> datetime | None:
    if value is None:
        return None
    if value.tzinfo is None:
        raise ValueError("a naive datetime reached the store")
    return value if value.tzinfo is UTC else value.astimezone(UTC)


@lru_cache(maxsize=64)  # all rows of a unit have the same few moments
def _utc_text(value: datetime | None) -> str | None:
    utc = _utc(value)
    return None if utc is None else utc.isoformat(" ", "microseconds").removesuffix(_OFFSET)


def _moment_of_text(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text + _OFFSET)


def _id(name: str = "id") -> sa.Column[str]:
    return sa.Column(name, sa.String(64), primary_key=True)


def _moment(name: str, *, nullable: bool = False, index: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, Moment, nullable=nullable, index=index)


def _text(name: str, length: int, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=nullable)


def _number(name: str, default: int | None = None) -> sa.Column[int]:
    return sa.Column(
        name, sa.Integer, nullable=False, server_default=None if default is None else str(default)
    )


def _bytes(name: str, *, nullable: bool = False) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary, nullable=nullable)


def _json(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.JSON, nullable=False)


def _scoring() -> sa.Column[object]:
    return sa.Column("scoring", sa.JSON(none_as_null=True), nullable=True)


def _application() -> sa.Column[str]:
    return sa.Column("application_id", sa.ForeignKey("applications.id"), nullable=False)


def _of_user() -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["application_id", "user_id"], ["users.application_id", "users.user_id"])


def _index_where(condition: str, *columns: str, name: str | None = None) -> sa.Index:
    """Return an index of few rows. A statement that wants it says the condition in these words, not by a parameter."""
    return sa.Index(name, *columns, sqlite_where=sa.text(condition), postgresql_where=sa.text(condition))


applications = sa.Table(
    "applications", metadata,
    _id(), sa.Column("name", sa.String(200), nullable=False, unique=True),
    _text("callback_url", 2000, nullable=True), _number("webhook_version", 1),
    _moment("webhook_rotated_at", nullable=True),
    _json("policy"), _number("policy_version", 1), _moment("created_at"),
)  # fmt: skip

# Every policy that ever was in force, so that what a transaction or keyset was made under can be read later.
policy_versions = sa.Table(
    "policy_versions", metadata,
    sa.Column("application_id", sa.ForeignKey("applications.id"), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False), _json("policy"), _moment("created_at"),
)  # fmt: skip

credentials = sa.Table(
    "credentials", metadata,
    _id(), _application(), _bytes("digest"), _json("scopes"),
    _moment("created_at"), _moment("revoked_at", nullable=True),
)  # fmt: skip

users = sa.Table(
    "users", metadata,
    sa.Column("application_id", sa.ForeignKey("applications.id"), primary_key=True),
    sa.Column("user_id", sa.String(64), primary_key=True),
    _text("status", 16), _text("reason", 200, nullable=True), _number("failures", 0), _number("version", 1),
    _moment("created_at"), sa.Column("settings", sa.JSON(none_as_null=True), nullable=True),
    _index_where("failures > 0", "application_id", "failures"),
)  # fmt: skip

devices = sa.Table(
    "devices", metadata,
    _id(), _application(), _text("user_id", 64), _text("push_provider", 32, nullable=True),
    _text("push_id", 4096, nullable=True), _moment("created_at"), _moment("registered_at", nullable=True),
    _moment("removed_at", nullable=True), _of_user(),
    sa.Index(None, "application_id", "user_id"),
)  # fmt: skip

keysets = sa.Table(
    "keysets", metadata,
    _id(), _application(), _text("user_id", 64), _text("status", 16), _text("delivery", 16),
    # Handles: RFC 7512 URIs that name a key by its CKA_ID, without token or PIN.
    _text("khmac", 200), _text("kauth", 200), _text("kpublic", 200, nullable=True), _bytes("spki", nullable=True),
    _bytes("fingerprint"), sa.Column("device_id", sa.ForeignKey("devices.id"), nullable=True),
    _number("step_seconds"), _number("digits"), _number("flags"), _text("renews", 64, nullable=True),
    _bytes("salt"), _bytes("package_sha256"),
    _moment("created_at"), _moment("valid_until"), _moment("lapses_at", nullable=True),
    _moment("registered_at", nullable=True), _moment("ended_at", nullable=True),
    _moment("code_given_at", nullable=True), _number("policy_version", 1),
    _bytes("binding"), _number("binding_version", 1), _of_user(),
    sa.Index(None, "application_id", "user_id"), sa.UniqueConstraint("khmac"), sa.UniqueConstraint("kauth"),
    sa.Index(None, "kpublic"), _index_where("lapses_at IS NOT NULL", "lapses_at"),
)  # fmt: skip

# Objects on the token that no keyset owns: not yet (planned) or no more (doomed). The sweep destroys them.
loose_keys = sa.Table(
    "loose_keys", metadata,
    sa.Column("uri", sa.String(200), primary_key=True), _text("keyset_id", 64), _moment("planned_at"),
    _moment("doomed_at", nullable=True), sa.Index(None, "doomed_at", "planned_at"),
)  # fmt: skip

transactions = sa.Table(
    "transactions", metadata,
    _id(), _application(), _text("user_id", 64), _text("kind", 16), _text("status", 16),
    _text("reason", 200, nullable=True), sa.Column("title", sa.Text, nullable=True), _text("media_type", 200),
    sa.Column("size", sa.BigInteger, nullable=False), _bytes("content_sha256"), _number("digits"),
    sa.Column("offline", sa.Boolean, nullable=False), sa.Column("kpublic_required", sa.Boolean, nullable=False),
    _text("callback_url", 2000, nullable=True), _number("failures", 0), _number("callbacks", 0),
    _moment("created_at"), _moment("expires_at"), _moment("settled_at", nullable=True), _number("policy_version", 1),
    sa.Column("scoring", sa.String(32), nullable=False, server_default="policy"),
    _bytes("binding"), _number("binding_version", 1), _of_user(),
    sa.Index(None, "application_id", "id"), sa.Index(None, "application_id", "user_id", "id"),
    _index_where("status = 'pending'", "application_id", "user_id", "id", name="ix_transactions_pending"),
    _index_where("status = 'pending'", "expires_at"),
    _index_where("status = 'pending' AND size > 65536", "application_id", "size", name="ix_transactions_large"),
)  # fmt: skip

# Content that was handed in by itself and that no transaction has used; gone when one does, or after an hour.
# Until it is complete it has no hash, and ``size`` is what it may have at most.
uploads = sa.Table(
    "uploads", metadata,
    _id(), _application(), _text("media_type", 255), sa.Column("size", sa.BigInteger, nullable=False),
    _bytes("content_sha256", nullable=True), _bytes("mac", nullable=True), _moment("created_at"),
    _moment("expires_at", index=True), sa.Index(None, "application_id"),
)  # fmt: skip

# The parts of an upload stand under its id until a transaction uses it; hence no foreign key.
contents = sa.Table(
    "contents", metadata,
    sa.Column("transaction_id", sa.String(64), primary_key=True),
    sa.Column("part", sa.Integer, primary_key=True), _bytes("data"),
)  # fmt: skip

attempts = sa.Table(
    "attempts", metadata,
    _id(), sa.Column("transaction_id", sa.ForeignKey("transactions.id"), nullable=False, index=True),
    sa.Column("keyset_id", sa.ForeignKey("keysets.id"), nullable=False),
    _text("device_id", 64, nullable=True), _text("operation", 16),
    _text("channel", 16), sa.Column("step", sa.BigInteger, nullable=False), _bytes("code"),
    _bytes("signature", nullable=True), _json("verified"), _text("outcome", 16), _json("device"),
    sa.Column("receipt", sa.Text, nullable=True), _scoring(), _moment("created_at"),
    sa.Index(None, "keyset_id", "id"),
)  # fmt: skip

# Of content that a phone made by itself; each message of a keyset serves once.
authentications = sa.Table(
    "authentications", metadata,
    _id(), _application(), _text("user_id", 64), sa.Column("keyset_id", sa.ForeignKey("keysets.id"), nullable=False),
    _text("rule", 32), _text("channel", 16), _text("media_type", 255), _bytes("content_sha256"),
    sa.Column("message_sha256", sa.LargeBinary(32), nullable=False),
    sa.Column("step", sa.BigInteger, nullable=False), _bytes("code"), _bytes("signature", nullable=True),
    _json("verified"), _json("device"), sa.Column("receipt", sa.Text, nullable=False), _scoring(),
    _moment("created_at"),
    _of_user(), sa.Index(None, "application_id", "user_id", "id"),
    sa.UniqueConstraint("keyset_id", "message_sha256"),
)  # fmt: skip

events = sa.Table(
    "events", metadata,
    # SQLite numbers rows by itself only in an INTEGER key.
    sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("id", sa.String(64), nullable=False, unique=True), _text("type", 64), _text("result", 64),
    _text("reason", 500, nullable=True), _text("application_id", 64, nullable=True),
    _text("user_id", 64, nullable=True), _text("keyset_id", 64, nullable=True),
    _text("transaction_id", 64, nullable=True),
    _text("action", 64, nullable=True), _text("address", 64, nullable=True), _bytes("body_sha256", nullable=True),
    _bytes("authcode", nullable=True), _json("detail"), _text("request_id", 64, nullable=True), _moment("created_at"),
    sa.Index(None, "application_id", "number"), sa.Index(None, "application_id", "user_id", "number"),
    sa.Index(None, "transaction_id"),
)  # fmt: skip

deliveries = sa.Table(
    "deliveries", metadata,
    _id(), _application(), _text("transaction_id", 64, nullable=True), _number("sequence"), _text("type", 64),
    _text("url", 2000), sa.Column("body", sa.Text, nullable=True), _text("status", 16), _number("tries", 0),
    _moment("next_at"), _moment("claimed_until", nullable=True), _text("error", 200, nullable=True),
    _moment("created_at"), _moment("ended_at", nullable=True),
    _index_where("status = 'pending'", "application_id", "next_at"),
    sa.UniqueConstraint("transaction_id", "sequence"),
)  # fmt: skip

# Devices to be woken; of each at most one row, gone when the push service took the push or it is given up.
pushes = sa.Table(
    "pushes", metadata,
    sa.Column("device_id", sa.ForeignKey("devices.id"), primary_key=True), _number("version"), _number("tries"),
    _moment("next_at", index=True), _moment("claimed_until", nullable=True), _moment("expires_at", index=True),
)  # fmt: skip

replays = sa.Table(
    "replays", metadata,
    sa.Column("keyset_id", sa.String(64), primary_key=True),
    sa.Column("authcode", sa.LargeBinary(32), primary_key=True),
    _moment("expires_at", index=True),
)  # fmt: skip

idempotency = sa.Table(
    "idempotency", metadata,
    sa.Column("application_id", sa.String(64), primary_key=True), sa.Column("key", sa.String(128), primary_key=True),
    _bytes("request_sha256"), sa.Column("resource", sa.String(64), nullable=True),  # none while the request runs
    _moment("expires_at", index=True),
)  # fmt: skip

# By what a token proves that its keys of the gateway are the right ones; a value tells nothing of the key.
house_keys = sa.Table(
    "house_keys", metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    _bytes("value"), _moment("created_at"),
)  # fmt: skip

receipt_keys = sa.Table(
    "receipt_keys", metadata,
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    _text("thumbprint", 64), _moment("created_at"),
    _moment("retired_at", nullable=True),
)  # fmt: skip
