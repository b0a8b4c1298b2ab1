"""Ids in paths, addresses of callers, and what an address gets that keeps failing."""

from collections.abc import Iterator

import httpx2
import pytest
from starlette.requests import Request

from gateway.api.requests import Peers
from tests.gateways import Gateway
from tests.journeys.stage import Stage


def _request(peer: str, *forwarded: str) -> Request:
    headers = [(b"x-forwarded-for", line.encode()) for line in forwarded]
    return Request({"type": "http", "headers": headers, "client": (peer, 1)})


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ((), "192.0.2.1"),
        (("198.51.100.7",), "198.51.100.7"),
        (("203.0.113.9, 198.51.100.7",), "198.51.100.7"),
        # A proxy that adds a line of its own leaves the caller's before it.
        (("203.0.113.9", "198.51.100.7"), "198.51.100.7"),
    ],
)
def test_behind_a_trusted_proxy_its_own_word_about_the_caller_counts(
    forwarded: tuple[str, ...], address: str
):
    assert Peers(frozenset({"192.0.2.1"})).address_of(_request("192.0.2.1", *forwarded)) == address


def test_nobody_else_is_believed_about_the_caller():
    assert Peers(frozenset()).address_of(_request("192.0.2.1", "198.51.100.7")) == "192.0.2.1"


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("::ffff:198.51.100.7", (), "198.51.100.7"),
        ("192.0.2.1", ("::ffff:198.51.100.7",), "198.51.100.7"),
        ("::ffff:192.0.2.1", ("198.51.100.7",), "198.51.100.7"),
        ("2001:db8::1", ("2001:DB8:0::2",), "2001:db8::2"),
        ("192.0.2.1", ("unknown",), "unknown"),
    ],
)
def test_an_ipv4_address_inside_an_ipv6_one_is_that_address(
    peer: str, forwarded: tuple[str, ...], address: str
):
    """A socket for both gives it so; of IPv6, a whole network counts as one caller."""
    peers = Peers.named(["192.0.2.1", "2001:db8:0:0::1"])
    assert peers.address_of(_request(peer, *forwarded)) == address


@pytest.mark.parametrize("user", ["a/b", "50% off", "a?b#c", "käse", "a/keysets", "%2e"])
def test_an_id_may_hold_any_sign_if_it_is_sent_encoded(stage: Stage, user: str):
    user = f"{stage.kind} {user}"
    assert stage.bank.create_user(user)["id"] == user
    assert stage.bank.user(user)["id"] == user
    assert stage.bank.keysets(user) == []


@pytest.fixture(scope="module")
def limited(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway process behind a proxy that bears five failures of one address in a minute."""
    first = stage.gateway
    made = Gateway(tmp_path_factory.mktemp("limited"), first.token_uri, first.authority, first.database_url)
    made.extra = {
        "COUNTERSIGN_DATA_DIR": str(first.folder / "data"),
        "COUNTERSIGN_FAILED_REQUESTS_PER_MINUTE": "5",
        "COUNTERSIGN_TRUSTED_PROXIES": "127.0.0.1",
    }
    made.start()
    yield made
    made.stop()


WAYS = ("malformed", "unknown action", "no credential", "unknown route")


@pytest.mark.parametrize("way", WAYS)
def test_an_address_that_keeps_failing_has_to_wait(limited: Gateway, way: str):
    headers = {"x-forwarded-for": f"192.0.2.{WAYS.index(way)}"}
    method, url = {
        "malformed": ("POST", f"{limited.client_url}/client/v1/transactions.pending"),
        "unknown action": ("POST", f"{limited.client_url}/client/v1/nothing"),
        "no credential": ("GET", f"{limited.application_url}/v1/policy"),
        "unknown route": ("GET", f"{limited.application_url}/v2"),
    }[way]
    with httpx2.Client(verify=False, trust_env=False, headers=headers) as http:
        answers = [http.request(method, url, json={} if method == "POST" else None) for _ in range(16)]
    assert answers[0].status_code in (400, 401, 404)
    # The minute may turn once between the first and the last.
    assert 429 in [answer.status_code for answer in answers]
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["code"] == "too_many_failures"
    assert int(refused.headers["retry-after"]) > 0
