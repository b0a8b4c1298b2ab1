"""Until when can a transaction be answered?"""

from datetime import UTC, datetime, timedelta

import pytest

from gateway.rules.transaction import Kind, Transaction, TransactionStatus, is_open

NOW = datetime(2030, 6, 1, 12, tzinfo=UTC)


def _transaction(status: TransactionStatus, expires_at: datetime) -> Transaction:
    return Transaction(
        id="txn_1",
        application_id="app_1",
        user_id="anna",
        kind=Kind.SIGN,
        status=status,
        reason=None,
        title=None,
        media_type="text/plain",
        size=1,
        content_sha256=bytes(32),
        digits=8,
        offline=False,
        kpublic_required=True,
        callback_url=None,
        failures=0,
        created_at=NOW,
        expires_at=expires_at,
        settled_at=None,
    )


@pytest.mark.parametrize(
    ("status", "left", "answerable"),
    [
        ("pending", timedelta(microseconds=1), True),
        ("pending", timedelta(0), False),
        ("pending", timedelta(days=-1), False),
        ("confirmed", timedelta(days=1), False),
        ("declined", timedelta(days=1), False),
        ("cancelled", timedelta(days=1), False),
    ],
)
def test_only_a_pending_transaction_is_open_and_only_before_its_end(
    *, status: str, left: timedelta, answerable: bool
):
    assert is_open(_transaction(TransactionStatus(status), NOW + left), NOW) is answerable
