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


def test_of_everything_that_is_wrong_the_first_check_of_the_core_document_gives_the_reason(bench: Bench):
    phone = run(bench.enrol("anna"))
    raw = bench.raw(phone, ACTION, {})
    with bench.ctx.database.reading() as connection:
        user = users.find_user(connection, bench.asker.application.id, "anna")
    assert user is not None
    good = Facts(bench.keyset(phone.account.keyset), user, bench.asker.application)
    now = bench.clock.now()
    late = replace(parse_envelope(raw, ACTION), time=now - timedelta(hours=1))
    bad = replace(
        good,
        user=replace(user, status=UserStatus.BLOCKED),
        keyset=replace(good.keyset, valid_until=now, status=KeysetStatus.DELETED),
    )
    request = ClientRequest(raw=raw, envelope=late, authcode=None, origin=ORIGIN)
    reasons = [judge(None, Seen(bound=False, matches=False), request, now)[1]]

    def found(facts: Facts, seen: Seen) -> None:
        reasons.append(judge(facts, seen, request, now)[1])

    found(bad, Seen(bound=False, matches=False))
    found(bad, Seen(bound=True, matches=False))
    bad = replace(bad, user=user)
    found(bad, Seen(bound=True, matches=False))
    bad = replace(bad, keyset=replace(bad.keyset, valid_until=good.keyset.valid_until))
    found(bad, Seen(bound=True, matches=False))
    found(good, Seen(bound=True, matches=False))
    request = replace(request, authcode=bytes(32))
    found(good, Seen(bound=True, matches=False))
    found(good, Seen(bound=True, matches=True))
    request = replace(request, envelope=parse_envelope(raw, ACTION))
    found(good, Seen(bound=True, matches=True))
    assert reasons == [
        "unknown keyset",
        "keyset row is not the one the HSM vouched for",
        "user_blocked",
        "keyset has expired",
        "keyset is deleted",
        "no valid PC-Authorization header",
        "wrong authentication code",
        "time of the request is out of the window",
        None,
    ]
