"""Which text may travel, and what are its bytes?"""

from gateway.wire.errors import WireError

ID_BYTES = 64
TITLE_BYTES = 256
MEDIA_TYPE_BYTES = 255


def check_text(value: str, *, what: str, most_bytes: int) -> bytes:
    """Return the UTF-8 bytes of a text of 1 to `most_bytes` bytes, exactly as given.

    Raises WireError `not_text` (U+0000, a lone surrogate, no str), `empty` or `too_long`.
    Source: docs/reference/wire.md, "Conventions".
    """
    if not isinstance(value, str) or "\x00" in value:
        raise WireError("not_text", what)
    try:
        data = value.encode("utf-8")
    except UnicodeEncodeError:
        raise WireError("not_text", what) from None
    if not data:
        raise WireError("empty", what)
    if len(data) > most_bytes:
        raise WireError("too_long", what)
    return data


def check_id(value: str, *, what: str) -> bytes:
    """Return the bytes of an id: text of 1 to 64 bytes. Raises WireError as `check_text`."""
    return check_text(value, what=what, most_bytes=ID_BYTES)


def read_text(data: bytes, *, what: str, most_bytes: int) -> str:
    """Return the text that `data` encodes in UTF-8. Raises WireError as `check_text`."""
    try:
        value = data.decode("utf-8")
    except UnicodeDecodeError:
        raise WireError("not_text", what) from None
    check_text(value, what=what, most_bytes=most_bytes)
    return value


def read_id(data: bytes, *, what: str) -> str:
    """Return the id that `data` encodes: text of 1 to 64 bytes. Raises WireError as `read_text`."""
    return read_text(data, what=what, most_bytes=ID_BYTES)
