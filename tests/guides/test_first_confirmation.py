"""The first guide is followed to the letter, by typing what it says and answering as it says."""

import re
import shutil
from pathlib import Path

import pytest

from tests.gateways import free_port
from tests.guides.terminal import MARK, Step, follow, missing, steps_of

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "first-confirmation.md"
PASSWORD, OFFICER = "correct horse", "an officer's pin"


@pytest.fixture
def folder():
    """Where the guide puts its things, but of this run alone."""
    name = f"var/first-{free_port()}"
    yield name
    shutil.rmtree(ROOT / name, ignore_errors=True)


@pytest.mark.long
def test_the_guide_works_as_it_is_written(folder: str):
    # Folder and ports are others than a reader's, so that the test runs beside anything else.
    guide = GUIDE.read_text().replace("var/first", folder)
    for port in ("8443", "8444"):
        guide = guide.replace(f"127.0.0.1:{port}", f"127.0.0.1:{free_port()}")
    steps = steps_of(guide)

    def last(pattern: str, shown: str) -> str:
        return str(re.findall(pattern, shown, re.MULTILINE)[-1])

    shown = follow(
        steps,
        ROOT,
        [
            (r"enter SO PIN: ", lambda _: OFFICER),
            (r"enter user PIN: ", lambda text: last(r"\b([0-9a-f]{16})$", text)),
            (r"Activation code: ", lambda text: last(r"\b((?:[0-9A-Z]{4}-){3}[0-9A-Z]{4})$", text)),
            (r"New password for this phone: |Repeat for confirmation: |Password: ", lambda _: PASSWORD),
            (r"(?:Approve|Decline) this\? \[y/N\]: ", lambda _: "y"),
        ],
    )
    for step, text in zip(steps, shown, strict=True):
        assert missing(step, text) == [], f"{step.commands}showed:\n{text}"
    assert not (ROOT / folder).exists()


def test_a_guide_that_is_not_true_any_more_is_noticed(tmp_path: Path):
    steps = steps_of(
        "```sh\necho one; echo two\n```\n```text\none\ntw…\n```\n```sh\nread -rp 'Name: ' name\n```\n"
    )
    shown = follow(steps, tmp_path, [("Name: ", lambda _: "x")])
    assert missing(steps[0], shown[0]) == []
    assert missing(Step("", ["two", "one"]), shown[0]) == ["one"]
    with pytest.raises(AssertionError, match="step 2 failed:\nno such luck"):
        follow(steps_of("```sh\ntrue\n```\n```sh\necho no such luck; false\n```\n"), tmp_path, [])
    assert MARK not in "".join(shown)
