"""Does no receiver, however it behaves, hold the worker up or lead it where it must not go?"""

import asyncio
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import trustme

from gateway.worker.posting import NotDelivered, Post, send
from tests.gateways import Authority, free_port
from tests.scenarios.bench import Bench, run
from tests.worker import receivers
from tests.worker.conftest import UseBench
from tests.worker.outbox import deliver_due, put, state, states, until
from tests.worker.receivers import RawReceiver, answer

OK = answer("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")
UNTRUSTED = "no connection: ConnectError (certificate verify failed"


def _try(bench: Bench, post: Post, url: str | None = None) -> tuple[str, int, str | None]:
    put(bench, "x", url=url)
    assert run(deliver_due(bench.ctx, post)) == 1
    return state(bench)


@pytest.mark.parametrize(
    ("behave", "error"),
    [
        (receivers.close_at_once, "no connection: RemoteProtocolError"),
        (answer("SSH-2.0-OpenSSH_9.2\r\n"), "no connection: RemoteProtocolError"),
        (answer("HTTP/1.1 200 OK\r\nContent-Le"), "no connection: RemoteProtocolError"),
        (receivers.endless_headers, "no connection: RemoteProtocolError"),
        (receivers.one_byte_at_a_time, "no answer in time"),
        (receivers.say_nothing, "no answer in time"),
        (answer("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"), "answered with status 500"),
        (answer("HTTP/1.1 304 No\r\n\r\n"), "answered with status 304"),
        (answer("HTTP/1.1 101 No\r\nUpgrade: x\r\n\r\n"), "no connection: RemoteProtocolError"),
    ],
    ids=["closes", "no HTTP", "half", "endless headers", "trickles", "silent", "500", "304", "101"],
)
def test_a_receiver_that_does_not_accept_is_tried_again(
    bench_for: UseBench, post: Post, behave: receivers.Behaviour, error: str
):
    patience = replace(post, seconds_most=1) if "in time" in error else post
    with RawReceiver(behave) as receiver, bench_for(receiver.url) as bench:
        assert _try(bench, patience) == ("pending", 1, error)


def test_an_endless_body_is_not_read(bench_for: UseBench, post: Post):
    with RawReceiver(receivers.endless_body) as receiver, bench_for(receiver.url) as bench:
        assert _try(bench, post) == ("delivered", 1, None)


def test_nobody_there_is_a_failed_try(bench_for: UseBench, post: Post):
    with bench_for(f"http://127.0.0.1:{free_port()}/callbacks") as bench:
        assert _try(bench, post) == ("pending", 1, "no connection: ConnectError (Connection refused)")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(bench_for: UseBench, post: Post, status: int):
    with RawReceiver(OK) as elsewhere:
        text = f"HTTP/1.1 {status} Moved\r\nLocation: {elsewhere.url}\r\nContent-Length: 0\r\n\r\n"
        with RawReceiver(answer(text)) as receiver, bench_for(receiver.url) as bench:
            assert _try(bench, post) == ("pending", 1, f"answered with status {status}")
        assert elsewhere.requests == []


def test_a_slow_receiver_does_not_keep_the_others_of_its_batch_from_delivery(bench_for: UseBench, post: Post):
    end = threading.Event()
    with (
        RawReceiver(lambda _: end.wait(20)) as slow,
        RawReceiver(OK) as quick,
        bench_for(quick.url) as bench,
        ThreadPoolExecutor(1) as worker,
    ):
        put(bench, "slow", url=slow.url)
        put(bench, "quick")
        trying = worker.submit(run, deliver_due(bench.ctx, post))
        until(lambda: states(bench)[0][:3] == ("quick", "delivered", 1))
        assert [entry[1] for entry in states(bench)] == ["delivered", "pending"]
        assert not trying.done()
        end.set()
        trying.result(20)
        assert states(bench)[1][:3] == ("slow", "pending", 1)


@pytest.mark.long
def test_a_receiver_may_take_as_long_as_the_setting_says(bench_for: UseBench, post: Post):
    def slowly(connection: object) -> None:
        time.sleep(6)
        OK(connection)  # type: ignore[arg-type]

    with RawReceiver(slowly) as receiver, bench_for(receiver.url) as bench:
        assert _try(bench, replace(post, seconds_most=9)) == ("delivered", 1, None)


def _tls(ca: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*names).configure_cert(context)
    return context


def test_a_receiver_of_the_trusted_authority_is_served_by_address_and_by_name(
    bench_for: UseBench, post: Post, authority: Authority
):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(authority.chain_file, authority.key_file)
    with RawReceiver(OK, tls) as receiver, bench_for(receiver.url) as bench:
        put(bench, "address")
        put(bench, "name", url=f"https://localhost:{receiver.port}/callbacks?x=1")
        run(deliver_due(bench.ctx, post))
        assert [entry[1] for entry in states(bench)] == ["delivered", "delivered"]
        heads = sorted(request.partition(b"\r\n\r\n")[0].lower() for request in receiver.requests)
        assert any(f"host: localhost:{receiver.port}".encode() in head for head in heads)
        assert any(b"post /callbacks?x=1 " in head for head in heads)


def test_a_certificate_of_another_authority_is_refused(bench_for: UseBench, post: Post):
    tls = _tls(trustme.CA(), "127.0.0.1")
    with RawReceiver(OK, tls) as receiver, bench_for(receiver.url) as bench:
        assert _try(bench, post) == ("pending", 1, f"{UNTRUSTED}: unable to get local issuer certificate)")
        assert receiver.requests == []


def test_a_certificate_of_another_name_is_refused(bench_for: UseBench, post: Post):
    ca = trustme.CA()
    trusting = ssl.create_default_context()
    ca.configure_trust(trusting)
    wrong = "IP address mismatch, certificate is not valid for '127.0.0.1'"
    with RawReceiver(OK, _tls(ca, "bank.example")) as receiver, bench_for(receiver.url) as bench:
        assert _try(bench, replace(post, tls=trusting)) == ("pending", 1, f"{UNTRUSTED}: {wrong}.)")
        assert receiver.requests == []


INNER = ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1", "0.0.0.0"]  # noqa: S104


@pytest.mark.parametrize("host", INNER)
def test_a_private_address_is_not_called_however_it_is_written(bench_for: UseBench, post: Post, host: str):
    with RawReceiver(OK) as receiver, bench_for(f"https://{host}:{receiver.port}/") as bench:
        status, _, error = _try(bench, replace(post, private_addresses=False))
        assert (status, error) == ("pending", "the host has an address that may not be reached")
        assert receiver.requests == []


@pytest.mark.parametrize("host", ["[::1]", "[::ffff:127.0.0.1]", "[fe80::1]"])
def test_a_private_address_of_version_six_is_not_called(bench_for: UseBench, post: Post, host: str):
    with bench_for(f"https://{host}:9/") as bench:
        status, _, error = _try(bench, replace(post, private_addresses=False))
        assert (status, error) == ("pending", "the host has an address that may not be reached")


@pytest.mark.parametrize(
    "host", ["does-not-exist.invalid", "a" * 64 + ".example", ".example", "a..example", "xn--.example", "-"]
)
def test_a_name_that_leads_nowhere_is_a_failed_try_and_does_not_harm_the_others(
    bench_for: UseBench, post: Post, host: str
):
    with RawReceiver(OK) as receiver, bench_for(receiver.url) as bench:
        put(bench, "nowhere", url=f"https://{host}/")
        put(bench, "somewhere")
        assert run(deliver_due(bench.ctx, post)) == 2
        assert [entry[1:3] for entry in states(bench)] == [("pending", 1), ("delivered", 1)]


def test_looking_up_a_name_takes_no_longer_than_a_callback_may(bench_for: UseBench, post: Post):
    over = threading.Event()
    with RawReceiver(OK) as receiver, bench_for(receiver.url) as bench, ThreadPoolExecutor(1) as lookups:
        lookups.submit(over.wait, 20)  # a name server that does not answer
        put(bench, "slow name")
        run(deliver_due(bench.ctx, replace(post, seconds_most=1, lookups=lookups)))
        over.set()
        assert state(bench) == ("pending", 1, "no answer in time")


def test_names_are_looked_up_in_threads_of_their_own(bench_for: UseBench, post: Post):
    over = threading.Event()
    with RawReceiver(OK) as receiver, bench_for(receiver.url) as bench:
        put(bench, "x")

        async def with_busy_loop() -> None:
            with ThreadPoolExecutor(1) as threads:
                asyncio.get_running_loop().set_default_executor(threads)
                threads.submit(over.wait, 20)
                await deliver_due(bench.ctx, post)
                over.set()

        run(with_busy_loop())
        assert state(bench) == ("delivered", 1, None)


@pytest.mark.parametrize(
    "url",
    [
        "http://a\u0301\u00df\u2488.example/",
        "http://[::1/",
        "http://127.0.0.1:99999/",
        "http://h/\x00",
        "ftp://h/",
        "",
    ],
)
def test_an_address_that_cannot_be_used_is_a_failed_try_and_no_bug(post: Post, url: str):
    with pytest.raises(NotDelivered):
        run(send(post, url, b"{}", {}))
