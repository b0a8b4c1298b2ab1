"""What does a phone hear when something behind the door is broken?"""

import sqlalchemy as sa

from tests.api.probe import Probe, problem


def test_a_failure_behind_an_authenticated_request_is_no_failure_to_authenticate(probe: Probe) -> None:
    with probe.stage.database() as connection:
        connection.execute(sa.text("ALTER TABLE transactions RENAME TO transactions_away"))
    try:
        answers = [probe.phone.request("transactions.pending", {}), probe.approve(probe.body())]
    finally:
        with probe.stage.database() as connection:
            connection.execute(sa.text("ALTER TABLE transactions_away RENAME TO transactions"))
    for answer in answers:
        assert problem(answer)[0] in (500, 503)
        reasons = [line["reason"] for line in probe.stage.recorded(answer)]
        assert "replayed request" not in reasons
    probe.still_works()
