"""The first tables, and the rule that the event log only grows and is read without gaps."""

import sqlalchemy as sa
from alembic import op

from gateway.store.tables import Moment

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_SQLITE = """
CREATE TRIGGER events_{what}_refused BEFORE {what} ON events
BEGIN SELECT RAISE(ABORT, 'the event log only grows'); END
"""
# INSERT OR REPLACE deletes without asking the DELETE trigger.
_SQLITE_REPLACE = """
CREATE TRIGGER events_replace_refused BEFORE INSERT ON events
WHEN EXISTS (SELECT 1 FROM events WHERE number = NEW.number OR id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'the event log only grows'); END
"""
_POSTGRES_FUNCTION = """
CREATE FUNCTION refuse_event_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'the event log only grows'; END $$
"""
_POSTGRES_TRIGGERS = (
    """CREATE TRIGGER events_change_refused BEFORE UPDATE OR DELETE ON events
    FOR EACH ROW EXECUTE FUNCTION refuse_event_change()""",
    """CREATE TRIGGER events_truncate_refused BEFORE TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_event_change()""",
)
# Says from which number on the lines of this unit may be; store/events.py reads it. 17235 is its marker, 0x4353.
# A trigger of the statement runs before the numbers are given out.
_POSTGRES_APPENDING = (
    """CREATE FUNCTION announce_events() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_advisory_xact_lock_shared(
            (17235::bigint << 48) | (last_value - CASE WHEN is_called THEN 0 ELSE 1 END)
        ) FROM events_number_seq;
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER events_announced BEFORE INSERT ON events
    FOR EACH STATEMENT EXECUTE FUNCTION announce_events()""",
)
# Half of a callback is base64, which compressing makes no smaller: it only takes time at each insertion.
_POSTGRES_UNCOMPRESSED = "ALTER TABLE deliveries ALTER COLUMN body SET STORAGE EXTERNAL"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "applications",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("callback_url", sa.String(length=2000), nullable=True),
        sa.Column("webhook_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("webhook_rotated_at", Moment(), nullable=True),
        sa.Column("policy", sa.JSON(), nullable=False),
        sa.Column("policy_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_applications")),
        sa.UniqueConstraint("name", name=op.f("uq_applications_name")),
    )
    op.create_table(
        "events",
        sa.Column(
            "number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("result", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=True),
        sa.Column("application_id", sa.String(length=64), nullable=True),
        sa.Column("user_id", sa.String(length=64), nullable=True),
        sa.Column("keyset_id", sa.String(length=64), nullable=True),
        sa.Column("transaction_id", sa.String(length=64), nullable=True),
        sa.Column("action", sa.String(length=64), nullable=True),
        sa.Column("address", sa.String(length=64), nullable=True),
        sa.Column("body_sha256", sa.LargeBinary(), nullable=True),
        sa.Column("authcode", sa.LargeBinary(), nullable=True),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.Column("created_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_events")),
        sa.UniqueConstraint("id", name=op.f("uq_events_id")),
    )
    op.create_index(
        op.f("ix_events_application_id_number"), "events", ["application_id", "number"], unique=False
    )
    op.create_index(
        op.f("ix_events_application_id_user_id_number"),
        "events",
        ["application_id", "user_id", "number"],
        unique=False,
    )
    op.create_index(op.f("ix_events_transaction_id"), "events", ["transaction_id"], unique=False)
    op.create_table(
        "idempotency",
        sa.Column("application_id", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("request_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("resource", sa.String(length=64), nullable=True),
        sa.Column("expires_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("application_id", "key", name=op.f("pk_idempotency")),
    )
    op.create_index(op.f("ix_idempotency_expires_at"), "idempotency", ["expires_at"], unique=False)
    op.create_table(
        "loose_keys",
        sa.Column("uri", sa.String(length=200), nullable=False),
        sa.Column("keyset_id", sa.String(length=64), nullable=False),
        sa.Column("planned_at", Moment(), nullable=False),
        sa.Column("doomed_at", Moment(), nullable=True),
        sa.PrimaryKeyConstraint("uri", name=op.f("pk_loose_keys")),
    )
    op.create_index(
        op.f("ix_loose_keys_doomed_at_planned_at"), "loose_keys", ["doomed_at", "planned_at"], unique=False
    )
    op.create_table(
        "house_keys",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("name", "version", name=op.f("pk_house_keys")),
    )
    op.create_table(
        "receipt_keys",
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("thumbprint", sa.String(length=64), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("retired_at", Moment(), nullable=True),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_receipt_keys")),
    )
    op.create_table(
        "replays",
        sa.Column("keyset_id", sa.String(length=64), nullable=False),
        sa.Column("authcode", sa.LargeBinary(length=32), nullable=False),
        sa.Column("expires_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("keyset_id", "authcode", name=op.f("pk_replays")),
    )
    op.create_index(op.f("ix_replays_expires_at"), "replays", ["expires_at"], unique=False)
    op.create_table(
        "credentials",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("application_id", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("revoked_at", Moment(), nullable=True),
        sa.ForeignKeyConstraint(
            ["application_id"], ["applications.id"], name=op.f("fk_credentials_application_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credentials")),
    )
    op.create_table(
        "policy_versions",
        sa.Column("application_id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("policy", sa.JSON(), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.ForeignKeyConstraint(
            ["application_id"], ["applications.id"], name=op.f("fk_policy_versions_application_id")
        ),
        sa.PrimaryKeyConstraint("application_id", "version", name=op.f("pk_policy_versions")),
    )
    op.create_table(
        "deliveries",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("application_id", sa.String(length=64), nullable=False),
        sa.Column("transaction_id", sa.String(length=64), nullable=True),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("url", sa.String(length=2000), nullable=False),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_at", Moment(), nullable=False),
        sa.Column("claimed_until", Moment(), nullable=True),
        sa.Column("error", sa.String(length=200), nullable=True),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("ended_at", Moment(), nullable=True),
        sa.ForeignKeyConstraint(
            ["application_id"], ["applications.id"], name=op.f("fk_deliveries_application_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        sa.UniqueConstraint("transaction_id", "sequence", name=op.f("uq_deliveries_transaction_id_sequence")),
    )
    op.create_index(
        op.f("ix_deliveries_application_id_next_at"),
        "deliveries",
        ["application_id", "next_at"],
        unique=False,
        sqlite_where=sa.text("status = 'pending'"),
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_table(
        "users",
        sa.Column("application_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=True),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("settings", sa.JSON(none_as_null=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["application_id"], ["applications.id"], name=op.f("fk_users_application_id")
        ),
        sa.PrimaryKeyConstraint("application_id", "user_id", name=op.f("pk_users")),
    )
    op.create_index(
        op.f("ix_users_application_id_failures"),
        "users",
        ["application_id", "failures"],
        unique=False,
        sqlite_where=sa.text("failures > 0"),
        postgresql_where=sa.text("failures > 0"),
    )
    op.create_table(
        "devices",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("application_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("push_provider", sa.String(length=32), nullable=True),
        sa.Column("push_id", sa.String(length=4096), nullable=True),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("registered_at", Moment(), nullable=True),
        sa.Column("removed_at", Moment(), nullable=True),
        sa.ForeignKeyConstraint(
            ["application_id", "user_id"],
            ["users.application_id", "users.user_id"],
            name=op.f("fk_devices_application_id_user_id"),
        ),
        sa.ForeignKeyConstraint(
            ["application_id"], ["applications.id"], name=op.f("fk_devices_application_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_devices")),
    )
    op.create_index(
        op.f("ix_devices_application_id_user_id"), "devices", ["application_id", "user_id"], unique=False
    )
    op.create_table(
        "pushes",
        sa.Column("device_id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("next_at", Moment(), nullable=False),
        sa.Column("claimed_until", Moment(), nullable=True),
        sa.Column("expires_at", Moment(), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["devices.id"], name=op.f("fk_pushes_device_id")),
        sa.PrimaryKeyConstraint("device_id", name=op.f("pk_pushes")),
    )
    op.create_index(op.f("ix_pushes_expires_at"), "pushes", ["expires_at"], unique=False)
    op.create_index(op.f("ix_pushes_next_at"), "pushes", ["next_at"], unique=False)
    op.create_table(
        "transactions",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("application_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=True),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("media_type", sa.String(length=200), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("content_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("digits", sa.Integer(), nullable=False),
        sa.Column("offline", sa.Boolean(), nullable=False),
        sa.Column("kpublic_required", sa.Boolean(), nullable=False),
        sa.Column("callback_url", sa.String(length=2000), nullable=True),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("callbacks", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("expires_at", Moment(), nullable=False),
        sa.Column("settled_at", Moment(), nullable=True),
        sa.Column("policy_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("scoring", sa.String(length=32), server_default="policy", nullable=False),
        sa.Column("binding", sa.LargeBinary(), nullable=False),
        sa.Column("binding_version", sa.Integer(), server_default="1", nullable=False),
        sa.ForeignKeyConstraint(
            ["application_id", "user_id"],
            ["users.application_id", "users.user_id"],
            name=op.f("fk_transactions_application_id_user_id"),
        ),
        sa.ForeignKeyConstraint(
            ["application_id"], ["applications.id"], name=op.f("fk_transactions_application_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transactions")),
    )
    op.create_index(
        op.f("ix_transactions_application_id_id"), "transactions", ["application_id", "id"], unique=False
    )
    op.create_index(
        op.f("ix_transactions_application_id_user_id_id"),
        "transactions",
        ["application_id", "user_id", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_transactions_pending"),
        "transactions",
        ["application_id", "user_id", "id"],
        unique=False,
        sqlite_where=sa.text("status = 'pending'"),
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_index(
        op.f("ix_transactions_expires_at"),
        "transactions",
        ["expires_at"],
        unique=False,
        sqlite_where=sa.text("status = 'pending'"),
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_index(
        op.f("ix_transactions_large"),
        "transactions",
        ["application_id", "size"],
        unique=False,
        sqlite_where=sa.text("status = 'pending' AND size > 65536"),
        postgresql_where=sa.text("status = 'pending' AND size > 65536"),
    )
    op.create_table(
        "contents",
        sa.Column("transaction_id", sa.String(length=64), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("transaction_id", "part", name=op.f("pk_contents")),
    )
    op.create_table(
        "uploads",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("application_id", sa.String(length=64), nullable=False),
        sa.Column("media_type", sa.String(length=255), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("content_sha256", sa.LargeBinary(), nullable=True),
        sa.Column("mac", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("expires_at", Moment(), nullable=False),
        sa.ForeignKeyConstraint(
            ["application_id"], ["applications.id"], name=op.f("fk_uploads_application_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_uploads")),
    )
    op.create_index(op.f("ix_uploads_application_id"), "uploads", ["application_id"], unique=False)
    op.create_index(op.f("ix_uploads_expires_at"), "uploads", ["expires_at"], unique=False)
    op.create_table(
        "keysets",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("application_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("delivery", sa.String(length=16), nullable=False),
        sa.Column("khmac", sa.String(length=200), nullable=False),
        sa.Column("kauth", sa.String(length=200), nullable=False),
        sa.Column("kpublic", sa.String(length=200), nullable=True),
        sa.Column("spki", sa.LargeBinary(), nullable=True),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("device_id", sa.String(length=64), nullable=True),
        sa.Column("step_seconds", sa.Integer(), nullable=False),
        sa.Column("digits", sa.Integer(), nullable=False),
        sa.Column("flags", sa.Integer(), nullable=False),
        sa.Column("renews", sa.String(length=64), nullable=True),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.Column("package_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("valid_until", Moment(), nullable=False),
        sa.Column("lapses_at", Moment(), nullable=True),
        sa.Column("registered_at", Moment(), nullable=True),
        sa.Column("ended_at", Moment(), nullable=True),
        sa.Column("code_given_at", Moment(), nullable=True),
        sa.Column("policy_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("binding", sa.LargeBinary(), nullable=False),
        sa.Column("binding_version", sa.Integer(), server_default="1", nullable=False),
        sa.ForeignKeyConstraint(
            ["application_id", "user_id"],
            ["users.application_id", "users.user_id"],
            name=op.f("fk_keysets_application_id_user_id"),
        ),
        sa.ForeignKeyConstraint(
            ["application_id"], ["applications.id"], name=op.f("fk_keysets_application_id")
        ),
        sa.ForeignKeyConstraint(["device_id"], ["devices.id"], name=op.f("fk_keysets_device_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_keysets")),
        sa.UniqueConstraint("kauth", name=op.f("uq_keysets_kauth")),
        sa.UniqueConstraint("khmac", name=op.f("uq_keysets_khmac")),
    )
    op.create_index(
        op.f("ix_keysets_application_id_user_id"), "keysets", ["application_id", "user_id"], unique=False
    )
    op.create_index(op.f("ix_keysets_kpublic"), "keysets", ["kpublic"], unique=False)
    op.create_index(
        op.f("ix_keysets_lapses_at"),
        "keysets",
        ["lapses_at"],
        unique=False,
        sqlite_where=sa.text("lapses_at IS NOT NULL"),
        postgresql_where=sa.text("lapses_at IS NOT NULL"),
    )
    op.create_table(
        "attempts",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("transaction_id", sa.String(length=64), nullable=False),
        sa.Column("keyset_id", sa.String(length=64), nullable=False),
        sa.Column("device_id", sa.String(length=64), nullable=True),
        sa.Column("operation", sa.String(length=16), nullable=False),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=True),
        sa.Column("verified", sa.JSON(), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("device", sa.JSON(), nullable=False),
        sa.Column("receipt", sa.Text(), nullable=True),
        sa.Column("scoring", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("created_at", Moment(), nullable=False),
        sa.ForeignKeyConstraint(["keyset_id"], ["keysets.id"], name=op.f("fk_attempts_keyset_id")),
        sa.ForeignKeyConstraint(
            ["transaction_id"], ["transactions.id"], name=op.f("fk_attempts_transaction_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
    )
    op.create_table(
        "authentications",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("application_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("keyset_id", sa.String(length=64), nullable=False),
        sa.Column("rule", sa.String(length=32), nullable=False),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("media_type", sa.String(length=255), nullable=False),
        sa.Column("content_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("message_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=True),
        sa.Column("verified", sa.JSON(), nullable=False),
        sa.Column("device", sa.JSON(), nullable=False),
        sa.Column("receipt", sa.Text(), nullable=False),
        sa.Column("scoring", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("created_at", Moment(), nullable=False),
        sa.ForeignKeyConstraint(
            ["application_id", "user_id"],
            ["users.application_id", "users.user_id"],
            name=op.f("fk_authentications_application_id_user_id"),
        ),
        sa.ForeignKeyConstraint(
            ["application_id"], ["applications.id"], name=op.f("fk_authentications_application_id")
        ),
        sa.ForeignKeyConstraint(["keyset_id"], ["keysets.id"], name=op.f("fk_authentications_keyset_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_authentications")),
        sa.UniqueConstraint(
            "keyset_id", "message_sha256", name=op.f("uq_authentications_keyset_id_message_sha256")
        ),
    )
    op.create_index(
        op.f("ix_authentications_application_id_user_id_id"),
        "authentications",
        ["application_id", "user_id", "id"],
        unique=False,
    )
    op.create_index(op.f("ix_attempts_keyset_id_id"), "attempts", ["keyset_id", "id"], unique=False)
    op.create_index(op.f("ix_attempts_transaction_id"), "attempts", ["transaction_id"], unique=False)

    _protect_events()
    if op.get_bind().dialect.name == "postgresql":
        op.execute(_POSTGRES_UNCOMPRESSED)


def _protect_events() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for what in ("UPDATE", "DELETE"):
            op.execute(_SQLITE.format(what=what))
        op.execute(_SQLITE_REPLACE)
        return
    op.execute(_POSTGRES_FUNCTION)
    for statement in (*_POSTGRES_TRIGGERS, *_POSTGRES_APPENDING):
        op.execute(statement)
