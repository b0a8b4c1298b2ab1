"""What the guide to applications says of large documents is followed to the letter, and a phone signs the document."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guides.terminal import follow, missing, steps_of
from tests.journeys.conftest import stage
from tests.journeys.stage import DATABASES, Stage

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "guides" / "applications.md"
DOCUMENT = ROOT / "docs" / "examples" / "contract.pdf"
__all__ = ["stage"]
pytestmark = pytest.mark.parametrize("stage", DATABASES[:1], indirect=True, scope="session")


@pytest.fixture
def folder(stage: Stage) -> Iterator[str]:
    """Where the guide finds how to reach the bank's door."""
    name = f"var/documents-{stage.gateway.application_port}"
    (ROOT / name).mkdir(parents=True, mode=0o700)
    (ROOT / name / "bank.curl").write_text(
        f'header = "Authorization: Bearer {stage.keys["api_key"]}"\n'
        'header = "Content-Type: application/json"\n'
        f'cacert = "{stage.gateway.authority.ca_file}"\nsilent\nshow-error\nfail-with-body\n'
    )
    yield name
    shutil.rmtree(ROOT / name, ignore_errors=True)


def test_a_document_is_handed_in_as_the_guide_says_and_signed(stage: Stage, folder: str) -> None:
    phone = stage.phone()
    guide = GUIDE.read_text().replace("var/first", folder).replace("customer-1", phone.account.user)
    steps = steps_of(guide.replace("https://127.0.0.1:8443", stage.gateway.application_url))
    shown = follow(steps, ROOT, [])
    for step, text in zip(steps, shown, strict=True):
        assert missing(step, text) == [], f"{step.commands}showed:\n{text}"
    told, own = shown[0].split()[-2:]
    assert told == own
    seen = phone.show(phone.pending()[0]["transaction"])
    assert seen.content == DOCUMENT.read_bytes()
    assert phone.approve(seen)["status"] == "confirmed"
