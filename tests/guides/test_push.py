"""The guide to push is followed to the letter, and then a gateway wakes a browser with what it made."""

import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.counterparts.phone import Phone
from tests.counterparts.push_web import WebPushService
from tests.gateways import Authority, Gateway, free_port
from tests.guides.terminal import follow, missing, steps_of
from tests.worker.push_bench import vapid_key

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "guides" / "push.md"
EXPORT = re.compile(r"^export (COUNTERSIGN_\w+)=(\S+)$", re.MULTILINE)


@pytest.fixture
def gateway(tmp_path: Path, new_token: Callable[[], str]):
    """A gateway that is prepared and not started, on SQLite."""
    made = Gateway(tmp_path, new_token(), Authority.make(tmp_path))
    made.run("init")
    yield made
    made.stop()


@pytest.fixture
def folder():
    """Where the guide puts its key, but of this run alone."""
    name = f"var/push-{free_port()}"
    yield name
    shutil.rmtree(ROOT / name, ignore_errors=True)


def test_the_guide_works_as_it_is_written(gateway: Gateway, folder: str, monkeypatch: pytest.MonkeyPatch):
    guide = GUIDE.read_text().replace("var/push", folder)
    steps = steps_of(guide)
    for name, value in gateway.environment.items():
        monkeypatch.setenv(name, value)
    shown = follow(steps, ROOT, [])
    for step, text in zip(steps, shown, strict=True):
        assert missing(step, text) == [], f"{step.commands}showed:\n{text}"
    assert (ROOT / folder / "vapid.pem").stat().st_mode & 0o077 == 0
    (public,) = (text.strip() for step, text in zip(steps, shown, strict=True) if "basenc" in step.commands)
    _wake_a_browser(gateway, public, dict(EXPORT.findall(guide)))


def _wake_a_browser(gateway: Gateway, public: str, named: dict[str, str]) -> None:
    """Run a gateway with the settings of the guide, with a push service of our own on its list."""
    gateway.extra |= named | _ours(gateway, named["COUNTERSIGN_PUSH_WEB_HOSTS"])
    gateway.start()
    authority = gateway.authority
    with WebPushService(authority.chain_file, authority.key_file, public) as service:
        _confirm_that_a_browser_is_woken(gateway, service)


def _ours(gateway: Gateway, hosts: str) -> dict[str, str]:
    return {
        "COUNTERSIGN_PUSH_WEB_HOSTS": f"{hosts},127.0.0.1",
        "COUNTERSIGN_PUSH_CA_FILE": str(gateway.authority.ca_file),
        "COUNTERSIGN_PUSH_PRIVATE_ADDRESSES": "true",
    }


def _confirm_that_a_browser_is_woken(gateway: Gateway, service: WebPushService) -> None:
    with gateway.bank(gateway.add_application()["api_key"]) as bank:
        browser, subscription = service.subscribe()
        bank.create_user("anna")
        issued = bank.issue_keyset("anna", "qr")
        phone = Phone.enrol(issued.qr_text, ca_pem=gateway.authority.ca_file.read_text())
        phone.register(push={"provider": "web_push", "identifier": subscription})
        bank.create_transaction("anna", text="Pay 10 EUR")
        deadline = time.monotonic() + 60
        while not browser.waiting:
            assert time.monotonic() < deadline, gateway.log_file.read_text()[-2000:]
            time.sleep(0.05)
        assert browser.read() == ['{"waiting":true}']
        assert bank.user("anna")["keysets"][0]["device"]["push"] == "web_push"
        phone.close()


def test_a_process_without_token_and_pin_sends_the_pushes(gateway: Gateway, tmp_path: Path):
    public = vapid_key(tmp_path)
    gateway.start()
    pusher = Gateway(gateway.folder, "", gateway.authority)
    with_key = {
        "COUNTERSIGN_PUSH_WEB_KEY_FILE": str(tmp_path / "vapid.pem"),
        "COUNTERSIGN_PUSH_WEB_CONTACT": "mailto:push@bank.example",
    }
    refused = pusher.run("work", "push", check=False)
    assert refused.returncode == 1
    assert "No push service is set up. Set COUNTERSIGN_PUSH_WEB_KEY_FILE" in refused.stderr
    pusher.extra |= with_key | _ours(gateway, "")
    process = pusher.start("work", "push", wait=False)
    try:
        authority = gateway.authority
        with WebPushService(authority.chain_file, authority.key_file, public) as service:
            _confirm_that_a_browser_is_woken(gateway, service)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
