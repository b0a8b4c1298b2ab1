"""What ends by itself: keysets that nobody registers, keysets that grow old, transactions nobody answers."""

import asyncio

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import rsa
from structlog.testing import capture_logs

from gateway.refusals import Refusal
from gateway.rules.keyset import Delivery, KeysetStatus
from gateway.rules.policy import Policy
from gateway.scenarios import housekeeping
from gateway.scenarios.activation import give_activation_code
from gateway.scenarios.offline import submit_code
from gateway.store import applications
from gateway.store.tables import deliveries, events, transactions
from hsm.keys import KeyRef
from tests.counterparts.phone import Phone
from tests.counterparts.phone_tlv import unb64
from tests.scenarios.bench import ORIGIN, Bench, opened_bench, run

URL = "https://bank.example/"


def _status(bench: Bench, keyset_id: str) -> KeysetStatus:
    return bench.keyset(keyset_id).status


def _code_of(work: object) -> str:
    assert asyncio.iscoroutine(work)
    with pytest.raises(Refusal) as refused:
        run(work)
    return refused.value.problem.code


def test_a_keyset_nobody_registers_lapses_after_72_hours_and_not_before(bench: Bench):
    run(bench.create_user("anna"))
    issued = run(bench.issue("anna"))
    bench.clock.move(hours=72, seconds=-1)
    assert run(housekeeping.lapse_keysets(bench.ctx)) == 0
    bench.clock.move(seconds=1)
    assert run(housekeeping.lapse_keysets(bench.ctx)) == 1
    lapsed = bench.keyset(issued.keyset["id"])
    assert (lapsed.status, lapsed.ended_at) == (KeysetStatus.LAPSED, bench.clock.now())
    assert bench.unbound() == []
    run(housekeeping.sweep_keys(bench.ctx))
    left = bench.device.user_keys()
    assert KeyRef.parse(lapsed.khmac) not in left
    assert KeyRef.parse(lapsed.kauth) not in left


def test_a_phone_may_register_in_the_last_second_and_then_never_lapses(bench: Bench):
    run(bench.create_user("anna"))
    issued = run(bench.issue("anna"))
    bench.clock.move(hours=72, seconds=-1)
    phone = bench.phone(issued)
    run(bench.register(phone))
    bench.clock.move(hours=1)
    assert run(housekeeping.lapse_keysets(bench.ctx)) == 0
    assert _status(bench, issued.keyset["id"]) is KeysetStatus.ACTIVE


def test_a_phone_comes_too_late_even_before_anybody_has_cleared_up(bench: Bench):
    run(bench.create_user("anna"))
    phone = bench.phone(run(bench.issue("anna")))
    bench.clock.move(hours=72)
    assert _code_of(bench.register(phone)) == "authentication_failed"


def test_a_keyset_under_a_weak_secret_lapses_after_ten_minutes(bench: Bench):
    weak = Policy(weak_secret=True)
    with opened_bench(bench.ctx.database, bench.device, weak) as other:
        run(other.create_user("anna"))
        short = run(other.issue("anna", delivery=Delivery.ONLINE, secret="abc123"))
        run(other.create_user("berta"))
        long = run(other.issue("berta", delivery=Delivery.ONLINE, secret="ABCD-EFGH-JKLM-NPQR"))
        other.clock.move(minutes=10, seconds=-1)
        assert run(housekeeping.lapse_keysets(other.ctx)) == 0
        other.clock.move(seconds=1)
        run(housekeeping.lapse_keysets(other.ctx))
        assert _status(other, short.keyset["id"]) is KeysetStatus.LAPSED
        assert _status(other, long.keyset["id"]) is KeysetStatus.ISSUED


def test_keys_that_need_no_registration_never_lapse(bench: Bench):
    with opened_bench(bench.ctx.database, bench.device, Policy(kpublic_required=False)) as other:
        run(other.create_user("anna"))
        issued = run(other.issue("anna"))
        other.clock.move(days=300)
        assert run(housekeeping.lapse_keysets(other.ctx)) == 0
        assert _status(other, issued.keyset["id"]) is KeysetStatus.ISSUED


def test_renewed_keys_nobody_registers_lapse_after_24_hours_and_the_old_ones_go_on(bench: Bench):
    phone = run(bench.enrol("anna"))
    wrap_key = rsa.generate_private_key(65537, 3072)
    answer = run(bench.ask(phone, "keys.renew", phone.renewal_body(wrap_key)))
    fresh = Phone.enrol(unb64(answer["package"]), wrap_key=wrap_key, clock=bench.clock.now).account.keyset
    bench.clock.move(hours=24, seconds=-1)
    assert run(housekeeping.lapse_keysets(bench.ctx)) == 0
    bench.clock.move(seconds=1)
    assert run(housekeeping.lapse_keysets(bench.ctx)) == 1
    assert (_status(bench, fresh), _status(bench, phone.account.keyset)) == ("lapsed", "active")
    assert run(bench.ask(phone, "transactions.pending", {}))["transactions"] == []


def test_no_activation_code_is_given_for_keys_that_have_expired(bench: Bench):
    with opened_bench(bench.ctx.database, bench.device, Policy(kpublic_required=False)) as other:
        run(other.create_user("anna"))
        name = run(other.issue("anna", delivery=Delivery.QR_AND_CODE)).keyset["id"]
        other.clock.move(days=365)
        given = give_activation_code(other.ctx, other.asker, "anna", name, ORIGIN)
        assert _code_of(given) == "keyset_not_open"


def test_keys_serve_until_the_last_second_of_their_validity(bench: Bench):
    phone = run(bench.enrol("anna"))
    bench.clock.move(days=365, seconds=-1)
    name = run(bench.ask_to_confirm("anna"))
    shown = run(bench.show(phone, name))
    assert run(bench.approve(phone, shown))["status"] == "confirmed"
    bench.clock.move(seconds=1)
    assert _code_of(bench.ask(phone, "transactions.pending", {})) == "authentication_failed"


def test_keys_keep_the_steps_under_which_they_were_issued(bench: Bench):
    with opened_bench(bench.ctx.database, bench.device, Policy(offline_allowed=True)) as other:
        phone = run(other.enrol("anna"))
        shorter, at = Policy(offline_allowed=True, step_seconds=30), other.clock.now()
        run(other.ctx.unit(applications.replace_policy, other.asker.application.id, shorter, at))
        other.asker = other.present()
        assert run(other.approve(phone, run(other.show(phone, run(other.ask_to_confirm("anna"))))))
        asked = run(other.ask_to_confirm("anna", offline=True))
        code = phone.short_code(run(other.show(phone, asked)))
        told = run(submit_code(other.ctx, other.asker, asked, code, ORIGIN))
        assert told["confirmation"]["step"] == int(at.timestamp()) // 180
        fresh = bench.keyset(run(other.issue("anna")).keyset["id"])
        assert fresh.step_seconds == 30


def test_a_transaction_expires_at_its_end_and_tells_the_application_once(bench: Bench):
    with opened_bench(bench.ctx.database, bench.device, callback_url=URL) as other:
        run(other.enrol("anna"))
        name = run(other.ask_to_confirm("anna"))
        other.clock.move(seconds=899)
        assert run(housekeeping.expire_transactions(other.ctx)) == 0
        other.clock.move(seconds=1)

        async def by_two_workers() -> list[int]:
            return list(
                await asyncio.gather(
                    housekeeping.expire_transactions(other.ctx), housekeeping.expire_transactions(other.ctx)
                )
            )

        run(by_two_workers())
        (row,) = other.rows(sa.select(transactions).where(transactions.c.id == name))
        assert (row.status, row.reason, row.settled_at) == ("cancelled", "timeout", other.clock.now())
        assert other.rows("SELECT * FROM contents") == []
        told = other.rows(sa.select(deliveries.c.type).where(deliveries.c.transaction_id == name))
        assert [each.type for each in told] == ["transaction.cancelled"]
        settled = sa.select(events).where(events.c.type == "transaction.settled")
        assert len(other.rows(settled)) == 1


def test_an_answer_in_the_last_second_counts_and_one_at_the_end_does_not(bench: Bench):
    phone = run(bench.enrol("anna"))
    in_time, late = run(bench.ask_to_confirm("anna")), run(bench.ask_to_confirm("anna"))
    bench.clock.move(seconds=899)
    shown_in_time, shown_late = run(bench.show(phone, in_time)), run(bench.show(phone, late))
    assert run(bench.approve(phone, shown_in_time))["status"] == "confirmed"
    bench.clock.move(seconds=1)
    assert _code_of(bench.approve(phone, shown_late)) == "transaction_expired"
    run(housekeeping.expire_transactions(bench.ctx))
    assert _code_of(bench.approve(phone, shown_late)) == "transaction_settled"
    assert bench.failures("anna") == 0


def test_a_policy_that_nobody_can_read_keeps_no_transaction_of_another_application_from_ending(bench: Bench):
    with opened_bench(bench.ctx.database, bench.device) as other:
        for each in (other, bench):
            run(each.enrol("anna"))
            run(each.ask_to_confirm("anna"))
        name, unreadable = other.asker.application.id, '{"failures_most": 99}'
        bench.write("UPDATE applications SET policy = :policy WHERE id = :id", policy=unreadable, id=name)
        bench.clock.move(seconds=900)
        with capture_logs() as lines:
            assert [run(housekeeping.expire_transactions(bench.ctx)) for _ in range(2)] == [1, 0]
        assert {(line["log_level"], line["application"]) for line in lines} == {("error", name)}
