"""What the guide to callbacks tells an application to do: does the code there know a genuine callback from others?"""

import json
import re
from pathlib import Path
from typing import Any

from gateway.rules.delivery import pause_after

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "guides" / "callbacks.md").read_text()
CASES = json.loads((ROOT / "tests" / "vectors" / "reports.json").read_text())["cases"]


def _is_genuine() -> Any:
    [code] = re.findall(r"^```python\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - that the page's own code runs is what is tested
    return names["is_genuine"]


def test_the_check_accepts_the_published_seals_and_nothing_that_was_changed() -> None:
    is_genuine = _is_genuine()
    sealed = [case for case in CASES if case["kind"] == "seal" and case["valid"]]
    assert sealed
    for case in sealed:
        headers, body = case["headers"], case["body"].encode()
        now = int(headers["webhook-timestamp"])
        for secret in case["secrets"]:
            assert is_genuine(secret, headers, body, now)
            assert not is_genuine(secret, headers, body + b" ", now)
            assert not is_genuine(secret, headers | {"webhook-id": "msg_other"}, body, now)
            assert not is_genuine(secret, headers, body, now + 301)


def test_the_pauses_are_those_of_the_gateway() -> None:
    written = (
        "after 1, 5 and 30 seconds, 2, 10 and 30 minutes, 1, 2, 4, 8 and 12\nhours, and twice after a day"
    )
    assert written in GUIDE
    seconds = [1, 5, 30, 120, 600, 1800, 3600, 7200, 14400, 28800, 43200, 86400, 86400]
    pauses = [pause_after(tries) for tries in range(1, len(seconds) + 2)]
    assert [pause and pause.total_seconds() for pause in pauses] == [*seconds, None]
