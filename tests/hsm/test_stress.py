"""Do two processes with 16 threads each work on one token without a crash, a wrong answer or an orphan?"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hsm.device import Device

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("seconds", [4, pytest.param(60, marks=pytest.mark.long)])
def test_two_processes_with_16_threads_each_share_a_token(own_device: Device, token_uri: str, seconds: int):
    own_device.create_house_pair("receipt")
    command = [sys.executable, "-m", "tests.hsm.stress", token_uri, str(seconds)]
    processes = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=seconds + 120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    reports = [json.loads(output) for output in outputs]
    print(*(report["counts"] for report in reports))  # noqa: T201  # read with pytest -s
    assert [report["wrong"] for report in reports] == [[], []]
    assert all(count > 0 for report in reports for count in report["counts"].values())
    assert own_device.user_keys() == []
    assert own_device.warm() == 3  # the house keys: nothing else is left
