"""Is a user asked only for what its keys can answer, and never blamed for keys it does not have?"""

from collections.abc import Iterator

import pytest

from gateway.refusals import Refusal
from gateway.rules.keyset import Delivery
from gateway.rules.policy import Policy
from gateway.scenarios import policies
from gateway.store import applications
from tests.counterparts.phone import Phone
from tests.scenarios.bench import ORIGIN, Bench, opened_bench, run


@pytest.fixture
def free(any_bench: Bench) -> Iterator[Bench]:
    """A bench whose policy does without Kpublic."""
    policy = Policy(kpublic_required=False, bind_to_device=False, weak_secret=True, validity_days=30)
    with opened_bench(any_bench.ctx.database, any_bench.device, policy) as bench:
        yield bench


def _unregistered(bench: Bench) -> Phone:
    run(bench.create_user("anna"))
    return bench.phone(run(bench.issue("anna")))


def _expect_no_active_keys(bench: Bench, **wish: object) -> None:
    with pytest.raises(Refusal) as refused:
        run(bench.ask_to_confirm("anna", **wish))
    assert refused.value.problem.code == "no_active_keys"


def test_a_transaction_that_needs_kpublic_is_refused_until_one_is_registered(free: Bench):
    phone = _unregistered(free)
    assert run(free.ask_to_confirm("anna"))
    _expect_no_active_keys(free, kpublic_required=True)
    run(free.register(phone))
    shown = run(free.show(phone, run(free.ask_to_confirm("anna", kpublic_required=True))))
    assert run(free.approve(phone, shown))["status"] == "confirmed"


def test_where_the_policy_needs_kpublic_no_transaction_does_without(any_bench: Bench):
    phone = _unregistered(any_bench)
    _expect_no_active_keys(any_bench)
    _expect_no_active_keys(any_bench, kpublic_required=False)
    run(any_bench.register(phone))
    assert run(any_bench.ask_to_confirm("anna"))


def test_keys_that_have_expired_or_lapsed_confirm_nothing(free: Bench):
    run(free.create_user("anna"))
    run(free.issue("anna", delivery=Delivery.ONLINE, secret="abc123"))
    assert run(free.ask_to_confirm("anna"))
    free.clock.move(minutes=10)
    _expect_no_active_keys(free)
    run(free.register(free.phone(run(free.issue("anna")))))
    free.clock.move(days=30, seconds=-1)
    assert run(free.ask_to_confirm("anna"))
    free.clock.move(seconds=1)
    _expect_no_active_keys(free)


def test_an_answer_without_the_kpublic_it_needs_is_refused_and_is_nobodys_failure(free: Bench):
    registered = _unregistered(free)
    run(free.register(registered))
    transaction = run(free.ask_to_confirm("anna", kpublic_required=True))
    phone = free.phone(run(free.issue("anna")))  # the phone was replaced and is not registered yet
    shown = run(free.show(phone, transaction))
    for action, operation in (("approve", 1), ("decline", 2)) * 3:
        with pytest.raises(Refusal, match="proof_refused"):
            run(free.ask(phone, f"transactions.{action}", phone.confirmation_body(shown, operation)))
    assert free.failures("anna") == 0
    run(free.register(phone))
    assert run(free.approve(phone, shown))["status"] == "confirmed"


def test_a_wrong_code_counts_with_and_without_kpublic(free: Bench):
    phone = _unregistered(free)
    shown = run(free.show(phone, run(free.ask_to_confirm("anna"))))
    with pytest.raises(Refusal, match="proof_refused"):
        run(free.approve_wrongly(phone, shown))
    assert free.failures("anna") == 1


def test_a_policy_that_starts_to_need_kpublic_counts_against_nobody(free: Bench):
    phone = _unregistered(free)
    transaction = run(free.ask_to_confirm("anna"))
    values = {"kpublic_required": True, "bind_to_device": False}
    run(policies.put_policy(free.ctx, free.asker, values, ORIGIN))
    with free.ctx.database.reading() as connection:
        found = applications.find_application(connection, free.asker.application.id)
    assert found is not None
    assert found.policy.kpublic_required
    with pytest.raises(Refusal, match="authentication_failed"):
        run(free.show(phone, transaction))
    assert free.failures("anna") == 0
