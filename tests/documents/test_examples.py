"""Are the examples of the application door's document such as the door reads?"""

import pytest

from gateway.api.application.calls import CALLS
from gateway.api.application.examples import EXAMPLES

TAKING = {call.name: call.takes for call in CALLS if call.takes is not None}


def test_every_call_that_takes_a_body_has_an_example() -> None:
    assert set(EXAMPLES) == set(TAKING)


@pytest.mark.parametrize("call", sorted(EXAMPLES))
def test_every_example_is_of_the_form_that_its_call_takes(call: str) -> None:
    for example in EXAMPLES[call].values():
        TAKING[call].model_validate(example)
