"""The guide to the doctor is followed to the letter."""

import re
import secrets
import shutil
from pathlib import Path

import pytest

from tests.guides.terminal import follow, missing, steps_of

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "guides" / "doctor.md"


@pytest.mark.long
def test_the_guide_to_the_doctor_works_as_it_is_written():
    folder = f"var/doctor-{secrets.token_hex(4)}"  # another than a reader's
    steps = steps_of(GUIDE.read_text().replace("var/doctor", folder))

    def pin(shown: str) -> str:
        return str(re.findall(r"\b([0-9a-f]{16})$", shown, re.MULTILINE)[-1])

    try:
        shown = follow(
            steps,
            ROOT,
            [(r"enter SO PIN: ", lambda _: "an officer's pin"), (r"enter user PIN: ", pin)],
        )
    finally:
        shutil.rmtree(ROOT / folder, ignore_errors=True)
    for step, text in zip(steps, shown, strict=True):
        assert missing(step, text) == [], f"{step.commands}showed:\n{text}"
