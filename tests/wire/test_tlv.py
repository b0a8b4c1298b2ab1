"""Is the subset of BER-TLV exactly the one that is written?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire import tlv
from gateway.wire.errors import WireError
from tests.wire import values

TAGS = [*range(0x80, 0x9F), *range(0xA0, 0xBF)]


def _decode(data: bytes, tags: list[int] = TAGS) -> dict[int, bytes]:
    return tlv.decode(data, required=(), optional=tags, may_be_empty=tags)


@values.fixed
@given(st.dictionaries(st.integers(0, 30), st.tuples(st.booleans(), st.binary(max_size=9)), max_size=6))
def test_records_are_read_as_they_were_written(parts: dict[int, tuple[bool, bytes]]):
    found = [(number + (0xA0 if made else 0x80), value) for number, (made, value) in sorted(parts.items())]
    assert list(_decode(tlv.sequence(found)).items()) == found


@values.fixed
@given(st.binary(max_size=12))
def test_whatever_is_read_is_what_would_be_written(data: bytes):
    try:
        found = _decode(data)
    except WireError:
        return
    assert tlv.sequence(found.items()) == data


@pytest.mark.parametrize("tag", range(256))
def test_only_the_62_short_tags_of_the_context_class_exist(tag: int):
    if tag in TAGS:
        assert _decode(tlv.encode(tag, b"x")) == {tag: b"x"}
        return
    with pytest.raises(WireError):
        tlv.encode(tag, b"x")
    with pytest.raises(WireError) as caught:
        _decode(bytes([tag, 1, 0]))
    assert caught.value.reason == "tlv_tag"


@pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 65535, 65536, 70000])
def test_a_length_has_one_form(size: int):
    value = bytes(size)
    data = tlv.encode(0x80, value)
    assert _decode(data) == {0x80: value}
    for count in range(1, 5):
        other = bytes([0x80, 0x80 | count]) + size.to_bytes(4, "big")[-count:] + value
        if other != data and size < 256**count:
            with pytest.raises(WireError):
                _decode(other)


def test_the_longest_value_has_three_length_bytes():
    data = tlv.encode(0x80, bytes(2**24 - 1))
    assert data[:5] == bytes.fromhex("8083ffffff")
    assert len(_decode(data)[0x80]) == 2**24 - 1
    with pytest.raises(WireError):
        tlv.encode(0x80, bytes(2**24))


@pytest.mark.parametrize("first", range(0x80, 0x100))
def test_every_long_first_length_byte_alone_is_refused(first: int):
    with pytest.raises(WireError):
        _decode(bytes([0x80, first]))


def test_tags_ascend_by_number_whatever_their_form():
    for one in TAGS:
        for other in TAGS:
            parts = [(one, b"x"), (other, b"y")]
            if one & 31 < other & 31:
                assert _decode(tlv.sequence(parts)) == dict(parts)
                continue
            with pytest.raises(WireError):
                tlv.sequence(parts)
            with pytest.raises(WireError) as caught:
                _decode(tlv.encode(one, b"x") + tlv.encode(other, b"y"))
            assert caught.value.reason == "tlv_order"


@pytest.mark.parametrize("value", [-1, 256, 65536])
def test_a_number_that_does_not_fit_is_refused(value: int):
    with pytest.raises(WireError):
        tlv.number(value, 1, what="x")
