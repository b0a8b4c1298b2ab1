"""Does the gateway lose nothing, and come back by itself, when its token is killed, stopped and cut off under load?

`scripts/faults device` runs it in full and prints the figures.
"""

import os
from pathlib import Path

import pytest

from tests.faults import device_run
from tests.faults.device_run import Plan

SHORT = Plan(kills=4, stops=1, cuts=1, cut_seconds=5)
PLAN = Plan() if os.environ.get("FAULTS_DEVICE") == "full" else SHORT


@pytest.mark.long
@pytest.mark.parametrize(
    ("call_seconds", "with_second"),
    [(30, False), (3, False), (30, True)],
    ids=["patient", "hanging", "with a second"],
)
def test_nothing_is_lost_and_nobody_is_needed_while_the_token_comes_and_goes(
    call_seconds: int,
    tmp_path: Path,
    token_uri: str,
    capsys: pytest.CaptureFixture[str],
    *,
    with_second: bool,
):
    report = device_run.run(tmp_path, token_uri, PLAN, call_seconds=call_seconds, with_second=with_second)
    with capsys.disabled():
        print(f"\n{report.text()}")  # noqa: T201 - the report is what it is run for
    assert report.faults == []
    assert report.confirmations > PLAN.kills * 8
