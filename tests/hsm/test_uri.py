"""Are PKCS#11 URIs read strictly and written canonically?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsm.errors import InvalidUri
from hsm.keys import KeyKind, KeyRef
from hsm.uri import TokenUri

REFS = st.builds(KeyRef, st.sampled_from(KeyKind), st.binary(min_size=16, max_size=16))


def test_the_parts_of_a_uri_are_decoded():
    uri = TokenUri.parse("pkcs11:token=my%20token?module-path=/lib/m.so&pin-source=file:/run/pin")
    assert uri == TokenUri(token="my token", module_path="/lib/m.so", pin_source="file:/run/pin")
    assert uri.format() == "pkcs11:token=my%20token?module-path=/lib/m.so&pin-source=file:/run/pin"


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "pkcs11",
        "http://x",
        "pkcs11:token=a;token=b",
        "pkcs11:tokn=a",
        "pkcs11:token",
        "pkcs11:token=%FF",
        "pkcs11:token=a?pin-value=1234",
        "pkcs11:token=a;pin-value=1234",
        "pkcs11:token=a?module-name=x",
    ],
)
def test_what_is_not_understood_is_refused(uri: str):
    with pytest.raises(InvalidUri) as raised:
        TokenUri.parse(uri)
    assert "1234" not in str(raised.value)


@given(REFS)
def test_a_reference_survives_being_written_and_read(ref: KeyRef):
    assert KeyRef.parse(ref.uri()) == ref
    assert len(ref.uri()) <= 74
    assert ref.uri().isascii()


@given(st.builds(TokenUri, token=st.text(min_size=1), pin_source=st.text(min_size=1), id=st.binary()))
def test_any_text_survives_being_written_and_read(uri: TokenUri):
    assert TokenUri.parse(uri.format()) == uri


@pytest.mark.parametrize(
    "uri",
    [
        "pkcs11:id=%00;type=secret-key",
        "pkcs11:type=secret-key",
        "pkcs11:id=" + "%00" * 16,
        "pkcs11:id=" + "%00" * 16 + ";type=cert",
        "pkcs11:token=t;id=" + "%00" * 16 + ";type=public",
    ],
)
def test_only_id_and_type_name_a_key(uri: str):
    with pytest.raises(InvalidUri):
        KeyRef.parse(uri)


@pytest.mark.parametrize("length", [0, 1, 15, 17])
def test_an_id_has_16_bytes(length: int):
    with pytest.raises(ValueError, match="16 bytes"):
        KeyRef(KeyKind.SECRET, bytes(length))
