"""May a phone register for a device that was removed?"""

import pytest

from gateway.refusals import Refusal
from gateway.rules.keyset import KeysetStatus
from tests.scenarios.bench import Bench, run


def test_keys_are_not_registered_for_a_device_that_somebody_marked_as_removed(bench: Bench):
    run(bench.create_user("anna"))
    issued = run(bench.issue("anna"))
    phone = bench.phone(issued)
    bench.write("UPDATE devices SET removed_at = '2030-01-01 00:00:00'")
    with pytest.raises(Refusal) as refused:
        run(bench.register(phone))
    assert refused.value.problem.code == "not_found"
    assert bench.keyset(issued.keyset["id"]).status is KeysetStatus.ISSUED
