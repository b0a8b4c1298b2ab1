"""Which secrets does the gateway wrap keys under, when the application brings its own?"""

import pytest

from gateway.wire.package import Package
from gateway.wire.wrapping import SecretWrapping
from tests.counterparts.bank import BankRefused
from tests.counterparts.phone_package import read_package
from tests.journeys.stage import Stage

ONE_DATABASE = True
STRONG = ["7QK2M4X9P3TVWZ6R", "0123456789012345678901234", "kT4mW9xQ2zB7vN"]
WEAK = ["1234567890123456", "deadbeefdeadbeef", "ABCD-EFGH-JKLM-N", "correct horse"]


def _iterations(issued: str) -> int:
    wrapping = Package.decode(read_package(issued)).wrapping
    assert isinstance(wrapping, SecretWrapping)
    return wrapping.iterations


@pytest.mark.parametrize("secret", STRONG)
def test_a_secret_that_can_hold_80_bits_wraps_keys(stage: Stage, secret: str) -> None:
    issued = stage.bank.issue_keyset(stage.user(), "online", secret=secret)
    assert _iterations(issued.package) == 10_000


@pytest.mark.parametrize("secret", WEAK)
def test_a_secret_that_cannot_is_refused_or_treated_as_weak_where_the_policy_says_so(
    stage: Stage, secret: str
) -> None:
    with pytest.raises(BankRefused) as refused:
        stage.bank.issue_keyset(stage.user(), "online", secret=secret)
    assert (refused.value.status, refused.value.code) == (422, "not_allowed_by_policy")
    assert secret not in repr(refused.value.problem)
    bank = stage.bank_with(weak_secret=True)
    issued = bank.issue_keyset(stage.user(bank), "online", secret=secret)
    assert _iterations(issued.package) == 600_000
