"""Is a request of a phone checked in the order of the core document: user, end of validity, deletion, code, time?"""

from dataclasses import replace
from datetime import timedelta

from gateway.rules.keyset import KeysetStatus
from gateway.rules.user import UserStatus
from gateway.scenarios.authentication import ClientRequest, Facts, Seen, judge
from gateway.store import users
from gateway.wire.request import parse_envelope
from tests.scenarios.bench import ORIGIN, Bench, run

ACTION = "transactions.pending"
UNBOUND, WRONG, RIGHT = (
    Seen(bound=bound, matches=right) for bound, right in ((False, False), (True, False), (True, True))
)


def _good(bench: Bench, keyset_id: str) -> Facts:
    with bench.ctx.database.reading() as connection:
        user = users.find_user(connection, bench.asker.application.id, "anna")
    assert user is not None
    return Facts(bench.keyset(keyset_id), user, bench.asker.application)


def test_of_everything_that_is_wrong_the_first_check_of_the_core_document_gives_the_reason(bench: Bench):
    phone = run(bench.enrol("anna"))
    raw, now = bench.raw(phone, ACTION, {}), bench.clock.now()
    timely = ClientRequest(raw=raw, envelope=parse_envelope(raw, ACTION), authcode=bytes(32), origin=ORIGIN)
    late = replace(timely, envelope=replace(timely.envelope, time=now - timedelta(hours=1)))
    without_code = replace(late, authcode=None)
    good = _good(bench, phone.account.keyset)
    deleted = replace(good, keyset=replace(good.keyset, status=KeysetStatus.DELETED))
    expired = replace(deleted, keyset=replace(deleted.keyset, valid_until=now))
    blocked = replace(expired, user=replace(good.user, status=UserStatus.BLOCKED))
    for facts, seen, request, why in (
        (None, UNBOUND, without_code, "unknown keyset"),
        (blocked, UNBOUND, without_code, "keyset row is not the one the HSM vouched for"),
        (blocked, WRONG, without_code, "user_blocked"),
        (expired, WRONG, without_code, "keyset has expired"),
        (deleted, WRONG, without_code, "keyset is deleted"),
        (good, WRONG, without_code, "no valid PC-Authorization header"),
        (good, WRONG, late, "wrong authentication code"),
        (good, RIGHT, late, "time of the request is out of the window"),
        (good, RIGHT, timely, None),
    ):
        assert judge(facts, seen, request, now)[1] == why
