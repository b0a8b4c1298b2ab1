"""The guide to a compromise is followed to the letter, while a thief tries what a thief would try."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.counterparts.bank import BankRefused
from tests.counterparts.phone import Phone
from tests.counterparts.phone_line import NotRecognised
from tests.guides.terminal import Step, follow, missing, steps_of
from tests.journeys.conftest import stage
from tests.journeys.stage import DATABASES, Stage

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "guides" / "compromise.md"
NAMES = ("customer-1", "customer-2", "customer-3")
__all__ = ["stage"]
pytestmark = pytest.mark.parametrize("stage", DATABASES[:1], indirect=True, scope="session")


@pytest.fixture
def folder(stage: Stage) -> Iterator[str]:
    """Where the guide finds how to reach the bank's door."""
    name = f"var/compromise-{stage.gateway.application_port}"
    (ROOT / name).mkdir(parents=True, mode=0o700)
    (ROOT / name / "bank.curl").write_text(
        f'header = "Authorization: Bearer {stage.keys["api_key"]}"\n'
        'header = "Content-Type: application/json"\n'
        f'cacert = "{stage.gateway.authority.ca_file}"\nsilent\nshow-error\nfail-with-body\n'
    )
    yield name
    shutil.rmtree(ROOT / name, ignore_errors=True)


def _customer(stage: Stage) -> Phone:
    """A customer with a phone who approved something, and whom something waits for."""
    phone = stage.phone()
    phone.approve(stage.ask(phone))
    stage.bank.create_transaction(phone.account.user, text="Pay 9,800 EUR to a stranger")
    return phone


def _parts(guide: str) -> list[list[Step]]:
    """The steps of each section of the guide."""
    return [steps_of(part) for part in guide.split("\n## ")]


def test_the_guide_to_a_compromise_works_as_it_is_written(
    stage: Stage, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in stage.gateway.environment.items():
        monkeypatch.setenv(name, value)
    phones = {name: _customer(stage) for name in NAMES}
    guide = GUIDE.read_text().replace("var/first", folder)
    guide = guide.replace("https://127.0.0.1:8443", stage.gateway.application_url)
    for name, phone in phones.items():
        guide = guide.replace(name, phone.account.user)
    setting_up, block, see, renew, unblock, delete, _ = _parts(guide)

    def follow_part(steps: list[Step]) -> None:
        shown = follow([*setting_up, *steps], ROOT, [])[len(setting_up) :]
        for step, text in zip(steps, shown, strict=True):
            assert missing(step, text) == [], f"{step.commands}showed:\n{text}"

    lost, found, stolen = (phones[name] for name in NAMES)
    follow_part(block + see)
    _thief_gets_nowhere(stage, lost)
    follow_part(renew)
    _thief_gets_nowhere(stage, lost)
    _customer_goes_on(stage, lost.account.user, ROOT / folder / "new-keys.json")
    follow_part(unblock)
    assert found.approve(found.show(found.pending()[0]["transaction"]))["status"] == "confirmed"
    follow_part(delete)
    _thief_gets_nowhere(stage, stolen)
    for call in (stage.bank.issue_keyset, stage.bank.unblock):
        with pytest.raises(BankRefused, match="user_deleted"):
            call(stolen.account.user)


def _thief_gets_nowhere(stage: Stage, phone: Phone) -> None:
    """Who has the phone, unlocked, is not recognised, whatever is asked; and it is seen afterwards."""
    for ask in (phone.pending, phone.renew, lambda: phone.update_push("none", "x")):
        with pytest.raises(NotRecognised):
            ask()
    tried = stage.events(user=phone.account.user, type="client.authentication_failed")
    assert len(tried) >= 3


def _customer_goes_on(stage: Stage, user: str, issued: Path) -> None:
    found = json.loads(issued.read_text())
    code = stage.bank.activation_code(user, found["keyset"]["id"])
    phone = stage.personalise(found["package"], activation_code=code)
    phone.register()
    assert phone.approve(stage.ask(phone))["status"] == "confirmed"
