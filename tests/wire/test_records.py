"""Does each record have one encoding, and does any damage to it show?"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire import secret
from gateway.wire.errors import WireError
from gateway.wire.message import Message
from gateway.wire.offline import OfflineTransaction
from gateway.wire.package import Package, PackagePolicy, SecretWrapping
from tests.vectors.writing import material, packages
from tests.wire import values

KINDS: list[tuple[type[Any], st.SearchStrategy[Any]]] = [
    (Message, values.messages),
    (PackagePolicy, values.policies),
    (Package, values.packages),
    (OfflineTransaction, values.offline_transactions),
]
every_kind = pytest.mark.parametrize(("kind", "strategy"), KINDS, ids=[kind.__name__ for kind, _ in KINDS])


def _or_refusal(read: Callable[[bytes], object], data: bytes) -> object:
    try:
        return read(data)
    except WireError:
        return None


@every_kind
def test_what_was_written_is_read_again(kind: type[Any], strategy: st.SearchStrategy[Any]):
    @values.fixed
    @given(strategy)
    def check(value: Any) -> None:
        assert kind.decode(value.encode()) == value

    check()


@every_kind
def test_two_values_with_one_encoding_are_one_value(kind: type[Any], strategy: st.SearchStrategy[Any]):
    @values.fixed
    @given(strategy, strategy)
    def check(one: Any, other: Any) -> None:
        assert (one == other) == (one.encode() == other.encode())

    check()


@every_kind
def test_any_bytes_that_are_read_are_what_would_be_written(kind: type[Any], strategy: st.SearchStrategy[Any]):
    """No second encoding of any value: whatever the reader takes, the writer writes the same."""

    @values.fixed
    @given(strategy, st.data())
    def check(value: Any, data: st.DataObject) -> None:
        raw = bytearray(value.encode())
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(0, len(raw) - 1))
            raw[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
        found = _or_refusal(kind.decode, bytes(raw))
        assert found is None or found.encode() == bytes(raw)  # type: ignore[attr-defined]

    check()


@every_kind
def test_every_truncation_and_every_appended_byte_is_refused(
    kind: type[Any], strategy: st.SearchStrategy[Any]
):
    @values.fixed
    @given(strategy, st.binary(min_size=1, max_size=3))
    def check(value: Any, tail: bytes) -> None:
        raw = value.encode()
        cuts = range(len(raw)) if len(raw) < 300 else range(0, len(raw), 7)
        # A whole optional part at the end may be cut off: then another value is read.
        assert all(_or_refusal(kind.decode, raw[:cut]) != value for cut in cuts)
        assert _or_refusal(kind.decode, raw + tail) != value

    check()


SAMPLES = [
    material.message(),
    material.message(title=None, fingerprint=b""),
    packages.POLICY,
    packages.with_code(),
    replace(packages.with_code(), secret=packages.INSIDE, door_pin=bytes(32)),
]


@pytest.mark.parametrize("value", SAMPLES, ids=[type(value).__name__ for value in SAMPLES])
def test_every_single_bit_flip_is_refused_or_reads_as_something_else(value: Any):
    raw = value.encode()
    for bit in range(8 * len(raw)):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        found = _or_refusal(type(value).decode, bytes(flipped))
        assert found is None or (found != value and found.encode() == bytes(flipped))  # type: ignore[attr-defined]


def test_truncating_a_message_anywhere_is_refused():
    for value in SAMPLES[:2]:
        raw = value.encode()
        assert all(_or_refusal(Message.decode, raw[:cut]) is None for cut in range(len(raw)))


def test_the_qr_text_holds_only_what_the_alphanumeric_mode_of_qr_codes_holds():
    text = packages.with_code().to_qr()
    assert set(text) <= set("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:")
    assert Package.from_qr(text) == packages.with_code()


def test_the_digest_of_a_package_does_not_depend_on_the_secret_but_on_all_else():
    package = packages.with_code()
    assert replace(package, secret=packages.INSIDE).digest() == package.digest()
    others = [
        replace(package, issuer="x"),
        replace(package, user="x"),
        replace(package, url="https://x.example"),
        replace(package, policy=PackagePolicy()),
        replace(package, khmac=bytes(40)),
        replace(package, door_pin=bytes(32)),
        replace(package, wrapping=SecretWrapping(material.SALT, secret.RANDOM_ITERATIONS + 1)),
    ]
    assert len({package.digest(), *(other.digest() for other in others)}) == len(others) + 1
