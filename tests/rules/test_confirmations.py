"""Which proofs does an answer need, and what is made of them: every combination."""

from itertools import product

import pytest

from gateway.rules.confirmation import Check, judge, signature_required

STEP, CODE, SIGNATURE = Check.STEP, Check.CODE, Check.SIGNATURE

# step, code and signature right (None: none is required) -> what passed, what failed first, does it count
VERDICTS = [
    (True, True, None, (STEP, CODE), None, False),
    (True, False, None, (STEP,), CODE, True),
    (False, True, None, (CODE,), STEP, False),
    (False, False, None, (), STEP, False),
    (True, True, True, (STEP, CODE, SIGNATURE), None, False),
    (True, True, False, (STEP, CODE), SIGNATURE, True),
    (True, False, True, (STEP, SIGNATURE), CODE, True),
    (True, False, False, (STEP,), CODE, True),
    (False, True, True, (CODE, SIGNATURE), STEP, False),
    (False, True, False, (CODE,), STEP, False),
    (False, False, True, (SIGNATURE,), STEP, False),
    (False, False, False, (), STEP, False),
]


def test_the_table_has_every_combination():
    assert {row[:3] for row in VERDICTS} == set(product((True, False), (True, False), (None, True, False)))


@pytest.mark.parametrize(("step", "code", "signature", "passed", "failed", "counts"), VERDICTS)
def test_proofs_are_judged_as_the_table_says(
    *,
    step: bool,
    code: bool,
    signature: bool | None,
    passed: tuple[Check, ...],
    failed: Check | None,
    counts: bool,
):
    verdict = judge(step_in_window=step, code_matches=code, signature_matches=signature)
    assert (verdict.passed, verdict.failed, verdict.counts) == (passed, failed, counts)
    assert verdict.accepted is (failed is None)


@pytest.mark.parametrize(
    ("registered", "policy", "transaction", "needed"),
    [
        (False, False, False, False),
        (False, False, True, True),
        (False, True, False, True),
        (False, True, True, True),
        (True, False, False, True),
        (True, False, True, True),
        (True, True, False, True),
        (True, True, True, True),
    ],
)
def test_the_code_alone_serves_only_where_nobody_knows_or_wants_a_key(
    *, registered: bool, policy: bool, transaction: bool, needed: bool
):
    found = signature_required(
        registered=registered, policy_requires=policy, transaction_requires=transaction
    )
    assert found is needed
