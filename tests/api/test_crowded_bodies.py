"""Is a body that holds very many values told from one that holds much content, without being read?"""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.api.application import crowded
from gateway.api.application.crowded import VALUES_MOST, is_crowded

LARGE = 20_000
CROWDED = {
    "lists": b'{"a":[' + b"[]," * LARGE + b"[]]}",
    "numbers": b'{"a":[' + b"0," * LARGE + b"0]}",
    "strings": b'{"a":[' + rb'"\\",' * LARGE + b'""]}',
    "members": b"{" + b",".join(b'"%d":0' % number for number in range(LARGE)) + b"}",
    "depth": b'{"a":' + b"[" * LARGE,
    "strings without commas": b'{"a":' + b'""' * LARGE,
}
CONTENT = {
    "commas and brackets": ",[{" * LARGE,
    "quotes": '"' * LARGE,
    "backslashes": "\\" * LARGE,
    "both": '\\"' * LARGE,
    "another alphabet": "ж" * LARGE,
}


@pytest.mark.parametrize("raw", CROWDED.values(), ids=CROWDED)
def test_many_values_are_seen(raw: bytes) -> None:
    assert is_crowded(raw)


@pytest.mark.parametrize("content", CONTENT.values(), ids=CONTENT)
def test_content_is_one_value_whatever_is_in_it(content: str) -> None:
    said = {"user": "anna", "text": content, "confirmation": {"offline": True}, "title": "x"}
    assert not is_crowded(json.dumps(said).encode())
    assert not is_crowded(json.dumps(said, ensure_ascii=False, indent=1).encode())


values = st.recursive(
    st.integers() | st.text(alphabet='\\",[{}]:a'),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(max_examples=20)
@given(value=values)
def test_no_document_with_few_values_is_refused(value: object) -> None:
    def count(inner: object) -> int:
        parts = [*inner.values()] if isinstance(inner, dict) else inner if isinstance(inner, list) else []
        return 1 + sum(map(count, parts))

    raw = json.dumps({"a": value}).encode() + b" " * crowded.SMALL_BYTES
    assert count(value) > VALUES_MOST or not is_crowded(raw)
