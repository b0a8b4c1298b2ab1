"""Does the page about the doctor name everything that the doctor tells?"""

import pytest

from hsm.doctor.catalogue import TRIALS
from hsm.doctor.verdict import BASE, Mode, Usable
from tests.house.tree import ROOT

PAGE = (ROOT / "docs" / "reference" / "doctor.md").read_text()


@pytest.mark.parametrize("trial", TRIALS)
def test_every_trial_is_on_the_page_with_what_it_tries(trial: str) -> None:
    assert f"| `{trial}` | {TRIALS[trial]} |" in PAGE


def test_the_page_says_which_trials_nothing_goes_without() -> None:
    said = (
        PAGE.partition("Without `")[2]
        .partition("` no mode is")[0]
        .replace("\n", " ")
        .replace("` and `", "`, `")
    )
    assert tuple(said.split("`, `")) == BASE


def test_modes_and_verdicts_are_on_the_page() -> None:
    for word in (*Mode, *Usable):
        assert f"`{word}`" in PAGE
