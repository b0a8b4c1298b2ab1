"""The phone as a command: secrets on standard input only, plain words, nothing dangerous on the screen."""

import io
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import segno

from tests.counterparts.phone_command import visible
from tests.counterparts.phone_tlv import base45_encode, element, elements
from tests.counterparts.stand_in_gateway import CONTENT, SECRET, StandInGateway, package_tlv

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "phone"
PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def gateway() -> Iterator[StandInGateway]:
    with StandInGateway() as running:
        yield running


@pytest.fixture(scope="module")
def registered(gateway: StandInGateway, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a phone that was enrolled and registered."""
    store = tmp_path_factory.mktemp("registered") / "phone"
    done = enrolled(gateway, store)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Example Bank" in done.stdout
    return store


@pytest.fixture
def store(registered: Path, tmp_path: Path) -> Path:
    """A copy of it, for one test."""
    return shutil.copytree(registered, tmp_path / "phone")


def run(store: Path, *arguments: str | Path, lines: Sequence[str] = (PASSWORD,)):
    # By the interpreter that the script would look for: to find it takes as long as a command.
    command = [sys.executable, SCRIPT, *arguments, "--store", store, "--secrets-from-stdin"]
    text = "".join(f"{line}\n" for line in lines)
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)


def enrolled(gateway: StandInGateway, store: Path):
    text = "PC1:" + base45_encode(package_tlv(gateway.url))
    return run(store, "enrol", "--qr-text", "-", lines=(text, SECRET, PASSWORD))


def picture(path: Path, text: str):
    out = io.BytesIO()
    segno.make(text, error="m").save(out, kind=path.suffix[1:], scale=4)
    path.write_bytes(out.getvalue())
    return path


def test_the_command_finds_its_interpreter():
    done = subprocess.run([SCRIPT, "--help"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "enrol" in done.stdout


def test_a_day_with_the_phone(gateway: StandInGateway, store: Path, tmp_path: Path):
    assert "txn_1  Payment" in run(store, "list").stdout
    shown = run(store, "show", "txn_1", "--save", tmp_path / "content").stdout
    assert CONTENT.decode() in shown
    assert (tmp_path / "content").read_bytes() == CONTENT
    assert "Approved" in run(store, "approve", "txn_1").stdout
    assert gateway.requests[-1]["action"] == "transactions.approve"
    assert "signature" in gateway.requests[-1]["body"]
    assert "Declined" in run(store, "decline", "txn_1").stdout
    code = run(store, "code", "txn_1").stdout.rsplit("Code: ", 1)[1].strip()
    assert len(code) == 8
    assert code.isdigit()


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_enrolment_from_a_picture_that_carries_its_secret(gateway: StandInGateway, tmp_path: Path, kind: str):
    text = "PC1:" + base45_encode(package_tlv(gateway.url, carry=True))
    image = picture(tmp_path / f"qr.{kind}", text)
    done = run(tmp_path / "phone", "enrol", "--qr-image", image)
    assert done.returncode == 0, done.stderr


def test_a_wrong_password_is_named_in_plain_words(gateway: StandInGateway, store: Path):
    seen = len(gateway.requests)
    done = run(store, "approve", "txn_1", lines=("battery staple",))
    assert done.returncode == 1
    assert "password was wrong" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(gateway.requests) == seen  # nothing that the gateway would believe


def test_a_short_code_for_a_picture_needs_no_gateway(gateway: StandInGateway, store: Path, tmp_path: Path):
    seen = len(gateway.raw)
    parts = [b"\x01", b"app_1", b"user-1", b"txn_1", b"Payment", b"text/plain", b"Pay 5", b"\x06"]
    data = elements((0x80 + number, value) for number, value in enumerate(parts))
    data += element(0x88, (4_000_000_000).to_bytes(8, "big"))
    image = picture(tmp_path / "offline.png", "PT1:" + base45_encode(data))
    done = run(store, "code", "--qr-image", image)
    assert "Pay 5" in done.stdout, done.stderr
    assert len(done.stdout.rsplit("Code: ", 1)[1].strip()) == 6
    assert len(gateway.raw) == seen


def test_a_wrong_activation_code_leaves_nothing_behind(gateway: StandInGateway, tmp_path: Path):
    text = "PC1:" + base45_encode(package_tlv(gateway.url))
    done = run(tmp_path / "phone", "enrol", "--qr-text", "-", lines=(text, "AAAA", PASSWORD))
    assert done.returncode == 1
    assert "activation code" in done.stderr
    assert not list((tmp_path).glob("phone/*.box"))


def test_a_second_enrolment_does_not_replace_the_first(gateway: StandInGateway, store: Path):
    done = enrolled(gateway, store)
    assert done.returncode == 1
    assert "already" in done.stderr


def test_the_text_of_a_qr_code_is_no_argument(tmp_path: Path):
    done = run(tmp_path / "phone", "enrol", "--qr-text", "PC1:SECRET")
    assert done.returncode == 1
    assert "SECRET" not in done.stderr + done.stdout


def test_a_missing_line_of_standard_input_is_named(store: Path):
    done = run(store, "list", lines=())
    assert done.returncode == 1
    assert "Password" in done.stderr


def test_signs_that_change_the_picture_are_spelled_out():
    assert visible("Pay\x1b[2K 5\u202e\n\tEUR \u00c4") == "Pay<U+001B>[2K 5<U+202E>\n\tEUR \u00c4"
    assert visible("a\rb\x00\x9b") == "a<U+000D>b<U+0000><U+009B>"
