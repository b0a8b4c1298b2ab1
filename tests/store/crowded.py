"""How does a database look in which much has happened? It fills itself, with rows that nobody vouches for.

Of three applications one has most of the users. Each user has a device and keys, each tenth has two; what was asked of
them is settled but for the newest, and most callbacks are made.
"""

import sqlalchemy as sa

from gateway.store.database import Connection, Database

BIG, USER, DEVICE, KEYSET, SETTLED, PENDING = (
    "app_2",
    "user_7",
    "dev_7",
    "ks_7",
    "txn_10000007",
    "txn_70000007",
)


def fill(database: Database, *, users: int, settled: int, pending: int) -> None:
    """Fill an empty database.

    Args:
        database: at the newest schema.
        users: how many there are.
        settled: how many transactions are settled.
        pending: how many wait for an answer.
    """
    with database.unit() as connection:
        rows = _Rows(connection, is_sqlite=database.is_sqlite)
        if not database.is_sqlite:  # foreign keys are looked up row by row
            connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        rows.people(users)
        rows.transactions(users, settled, pending)
        rows.marks(users, max(settled // 4, 1))


def learn(database: Database) -> None:
    """Have the database look at what it holds, as PostgreSQL does by itself from time to time."""
    with database.unit() as connection:
        connection.exec_driver_sql("ANALYZE")


class _Rows:
    def __init__(self, connection: Connection, *, is_sqlite: bool) -> None:
        self._connection = connection
        self._is_sqlite = is_sqlite

    def people(self, users: int) -> None:
        """Applications, users, devices and keysets."""
        app = self._application("i")
        self._add("applications", 3, id="'app_' || (i - 1)", name="'bank ' || i", policy="'{}'",
                  created_at=self._ago("9"), policy_version="1", callback_url="'https://bank.example/'")  # fmt: skip
        self._add("users", users, application_id=app, user_id="'user_' || i", status="'active'",
                  failures="CASE WHEN i % 500 = 0 THEN 2 ELSE 0 END", created_at=self._ago("i"))  # fmt: skip
        self._add("devices", users, id="'dev_' || i", application_id=app, user_id="'user_' || i",
                  push_provider="CASE i % 3 WHEN 0 THEN 'fcm' WHEN 1 THEN 'apns' ELSE 'web_push' END",
                  push_id="'push_' || i", created_at=self._ago("i"), registered_at=self._ago("i"))  # fmt: skip
        self._keysets(users, "'ks_' || i", "'active'")
        self._keysets(users // 10, "'old_' || i", "'superseded'")
        self._add("loose_keys", max(users // 4, 1), uri="'pkcs11:id=' || i", keyset_id="'ks_' || i",
                  planned_at=self._ago("i"), doomed_at=f"CASE WHEN i % 2 = 0 THEN {self._ago('i')} END")  # fmt: skip

    def _keysets(self, count: int, name: str, status: str) -> None:
        self._add(
            "keysets", count, id=name, application_id=self._application("i"), user_id="'user_' || i", status=status,
            delivery="'qr'", khmac=f"'derived:h' || {name}", kauth=f"'derived:a' || {name}",
            kpublic=f"'point:' || {name}", fingerprint=self._bytes("i"), device_id="'dev_' || i", step_seconds="30",
            digits="8", flags="0", salt=self._bytes("i"), package_sha256=self._bytes("i"), created_at=self._ago("i"),
            valid_until=self._ago("-9000000"), registered_at=self._ago("i"), binding=self._bytes("i"),
            lapses_at=f"CASE WHEN i % 1000 = 1 THEN {self._ago('-i')} END",
        )  # fmt: skip

    def transactions(self, users: int, settled: int, pending: int) -> None:
        """Transactions, and what belongs to them."""
        user = f"(i * 7919 % {users} + 1)"
        ended = "CASE i % 10 WHEN 0 THEN 'cancelled' WHEN 1 THEN 'declined' ELSE 'confirmed' END"
        self._transactions(settled, user, "txn_1", ended, self._ago(f"{settled} - i + 900"))
        self._transactions(pending, user, "txn_7", "'pending'", self._ago("-600 - i"))
        self._add("contents", pending, transaction_id=self._name("txn_7"), part="0", data=self._bytes("i"))
        self._add(
            "attempts", settled, id=self._name("att_1"), transaction_id=self._name("txn_1"),
            keyset_id=f"'ks_' || {user}", operation="'approve'", channel="'online'", step="1",
            code=self._bytes("i"), verified="'[]'", outcome="CASE WHEN i % 10 = 0 THEN 'refused' ELSE 'accepted' END",
            device="'{}'", receipt="'eyJ'", created_at=self._ago(f"{settled} - i"),
        )  # fmt: skip
        for number, type_ in enumerate(("transaction.created", "transaction.settled")):
            self._add(
                "events", settled, id=self._name(f"evt_{number}"), type=f"'{type_}'", result="'created'",
                application_id=self._application(user), user_id=f"'user_' || {user}", keyset_id=f"'ks_' || {user}",
                transaction_id=self._name("txn_1"), detail="'{}'", created_at=self._ago(f"{settled} - i"),
            )  # fmt: skip
        self._deliveries(settled, user, "1", "'delivered'")
        self._deliveries(max(settled // 100, 1), user, "2", "'pending'")

    def _transactions(self, count: int, user: str, name: str, status: str, expires_at: str) -> None:
        self._add(
            "transactions", count, id=self._name(name), application_id=self._application(user),
            user_id=f"'user_' || {user}", kind="'sign'", status=status, media_type="'text/plain'", size="20",
            content_sha256=self._bytes("i"), digits="8", offline="(1 = 1)", kpublic_required="(1 = 1)",
            created_at=self._ago(f"{count} - i"), expires_at=expires_at, binding=self._bytes("i"),
        )  # fmt: skip

    def _deliveries(self, count: int, user: str, sequence: str, status: str) -> None:
        self._add(
            "deliveries", count, id=self._name(f"msg_{sequence}"), application_id=self._application(user),
            transaction_id=self._name("txn_1"), sequence=sequence, type="'transaction.confirmed'",
            url="'https://bank.example/'", status=status, next_at=self._ago(f"{count} - i"),
            created_at=self._ago(f"{count} - i"),
        )  # fmt: skip

    def marks(self, users: int, count: int) -> None:
        """What is kept for a while, and authentications."""
        user = f"(i * 7919 % {users} + 1)"
        self._add(
            "replays",
            count,
            keyset_id=f"'ks_' || {user}",
            authcode=self._bytes("i"),
            expires_at=self._ago("-i"),
        )
        self._add("idempotency", count, application_id=self._application("i"), key="'key_' || i",
                  request_sha256=self._bytes("i"), resource=self._name("txn_1"),
                  expires_at=self._ago("-i"))  # fmt: skip
        self._add("pushes", max(users // 4, 1), device_id="'dev_' || i", version="1", tries="0",
                  next_at=self._ago("-i"), expires_at=self._ago("-i"))  # fmt: skip
        self._add("uploads", max(users // 100, 1), id="'upl_' || i", application_id=self._application("i"),
                  media_type="'text/plain'", size="20", created_at=self._ago("i"),
                  expires_at=self._ago("-i"))  # fmt: skip
        self._add(
            "authentications", count, id=self._name("atn_1"), application_id=self._application(user),
            user_id=f"'user_' || {user}", keyset_id=f"'ks_' || {user}", rule="'shown'", channel="'online'",
            media_type="'text/plain'", content_sha256=self._bytes("i"), message_sha256=self._bytes("i"), step="1",
            code=self._bytes("i"), verified="'[]'", device="'{}'", receipt="'eyJ'", created_at=self._ago("i"),
        )  # fmt: skip

    def _add(self, table: str, count: int, **columns: str) -> None:
        """Add rows; each column is given as SQL over i, the number of the row from 1."""
        next_one = f"SELECT i + 1 FROM n WHERE i < {count}"  # noqa: S608  # words of this program
        numbers = f"WITH RECURSIVE n(i) AS (SELECT CAST(1 AS BIGINT) UNION ALL {next_one})"
        names, values = ", ".join(columns), ", ".join(columns.values())
        text = f"INSERT INTO {table} ({names}) {numbers} SELECT {values} FROM n"  # noqa: S608
        self._connection.execute(sa.text(text.replace(":", r"\:")))

    def _application(self, number: str) -> str:
        return f"(CASE WHEN {number} % 10 <> 0 THEN 'app_2' ELSE 'app_' || ({number} % 3) END)"

    def _name(self, prefix: str) -> str:
        return f"('{prefix}' || substr('' || (10000000 + i), 2))"

    def _bytes(self, text: str) -> str:
        return (
            f"CAST('bytes ' || {text} AS BLOB)" if self._is_sqlite else f"CAST('bytes ' || {text} AS BYTEA)"
        )

    def _ago(self, seconds: str) -> str:
        if self._is_sqlite:
            return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', (-({seconds})) || ' seconds')"
        return f"(now() - ({seconds}) * interval '1 second')"
