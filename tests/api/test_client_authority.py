"""Does an operator learn that phones would refuse the client door, before phones do?"""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.client_authority import require_accepted
from gateway.clock import SystemClock
from gateway.settings import SettingsError, load_settings

HOST = "confirm.bank.example"


class Door:
    """A client door with a certificate of its authority, whose files and settings a test may change."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.authority = folder, trustme.CA()
        self.values = {"CLIENT_URL": f"https://{HOST}:8444/confirm"}
        self.serve(self.authority)
        self.tell(self.authority.cert_pem.bytes())

    def serve(self, authority: trustme.CA) -> None:
        """Serve with a new certificate of this authority."""
        leaf = authority.issue_cert(HOST)
        leaf.private_key_and_cert_chain_pem.write_to_path(self.folder / "door.pem")
        self.leaf = leaf.cert_chain_pems[0].bytes()
        self.values["TLS_CERTIFICATE_FILE"] = str(self.folder / "door.pem")

    def tell(self, pem: bytes) -> None:
        """Tell phones of this authority."""
        (self.folder / "ca.pem").write_bytes(pem)
        self.values["CLIENT_CA_FILE"] = str(self.folder / "ca.pem")

    def found(self) -> str:
        """What the check says."""
        settings = load_settings({f"COUNTERSIGN_{name}": value for name, value in self.values.items()})
        return require_accepted(settings, SystemClock())


@pytest.fixture
def door(tmp_path: Path) -> Door:
    """One where everything fits."""
    return Door(tmp_path)


def _authority_until(end: datetime) -> bytes:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, datetime(2020, 1, 1, tzinfo=UTC), end)
    whole = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return whole.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def test_an_authority_that_issued_the_certificate_is_well_also_below_another_and_above_others(
    door: Door,
) -> None:
    assert door.found() == "ok"
    below = door.authority.create_child_ca()
    door.serve(below)
    assert door.found() == "ok"
    door.tell(below.cert_pem.bytes())
    assert door.found() == "ok"


def test_without_an_authority_of_its_own_nothing_is_said_to_be_well(door: Door) -> None:
    del door.values["CLIENT_CA_FILE"]
    assert door.found() == "not set up: phones rely on public authorities"


def test_an_authority_that_did_not_issue_it_is_told(door: Door) -> None:
    door.serve(trustme.CA())
    with pytest.raises(SettingsError, match=r"refuse the client door: .*issuer certificate\. Name the"):
        door.found()


def test_of_a_file_with_several_the_first_counts_for_it_is_what_phones_are_told(door: Door) -> None:
    right, wrong = door.authority.cert_pem.bytes(), trustme.CA().cert_pem.bytes()
    door.tell(right + wrong)
    assert door.found() == "ok"
    door.tell(wrong + right)
    with pytest.raises(SettingsError, match="refuse the client door"):
        door.found()


def test_a_certificate_over_another_name_than_phones_call_is_told(door: Door) -> None:
    door.values["CLIENT_URL"] = "https://other.bank.example"
    with pytest.raises(SettingsError, match=r"not valid for 'other\.bank\.example'"):
        door.found()


def test_the_doors_own_certificate_is_no_authority(door: Door) -> None:
    door.tell(door.leaf)
    with pytest.raises(
        SettingsError, match="COUNTERSIGN_CLIENT_CA_FILE holds the certificate of no authority"
    ):
        door.found()


def test_an_authority_that_has_ended_is_told_with_its_end(door: Door) -> None:
    door.tell(_authority_until(datetime(2020, 3, 1, tzinfo=UTC)))
    with pytest.raises(SettingsError, match="to 2020-03-01 00:00 UTC, and not now"):
        door.found()


@pytest.mark.parametrize("pem", [b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END"])
def test_a_file_that_holds_no_certificate_is_told(door: Door, pem: bytes) -> None:
    door.tell(pem)
    with pytest.raises(SettingsError, match="COUNTERSIGN_CLIENT_CA_FILE holds no certificate"):
        door.found()


def test_phones_that_are_told_of_an_authority_talk_to_no_door_without_tls(door: Door) -> None:
    door.values["CLIENT_URL"] = "http://127.0.0.1:8444"
    with pytest.raises(SettingsError, match="https alone"):
        door.found()


@pytest.mark.parametrize("in_front", [{"TRUSTED_PROXIES": "10.0.1.7"}, {"TLS_CERTIFICATE_FILE": ""}])
def test_what_a_proxy_in_front_shows_is_not_said_to_fit_nor_not_to(
    door: Door, in_front: dict[str, str]
) -> None:
    door.serve(trustme.CA())
    door.values |= in_front
    assert door.found().startswith("ok; not compared with")
