"""The guide to two tokens is followed to the letter."""

import re
import secrets
import shutil
from pathlib import Path

import pytest

from tests.gateways import free_port
from tests.guides.terminal import follow, missing, steps_of

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "guides" / "two-tokens.md"


@pytest.mark.long
def test_the_guide_to_two_tokens_works_as_it_is_written():
    folder = f"var/two-{secrets.token_hex(4)}"  # another than a reader's
    text = GUIDE.read_text().replace("var/two", folder)
    for port in ("8443", "8444"):
        text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{free_port()}")
    steps = steps_of(text)

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
    for step, seen in zip(steps, shown, strict=True):
        assert missing(step, seen) == [], f"{step.commands}showed:\n{seen}"
