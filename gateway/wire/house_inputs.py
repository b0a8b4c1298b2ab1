"""Which bytes does the HSM authenticate for the gateway itself: API keys, repeated requests, uploads, activation codes?

The first three are made under one key, ``credential``. Their tags ascend through this file and none is used twice, so
that the MAC of one is never the MAC of another. Nobody outside the gateway reads these bytes.
"""

from collections.abc import Iterable

from gateway.wire import tlv

_SIZE_BYTES = 8


def api_key_input(credential: str, application: str, scopes: Iterable[str], secret: str) -> bytes:
    """Return what is authenticated of an API key.

    Application and scopes are inside, so that a changed or copied row is of no use to a database writer.
    """
    scope_text = " ".join(sorted(scopes))
    parts = enumerate((credential, application, scope_text, secret), 0x80)
    return tlv.sequence((tag, text.encode()) for tag, text in parts)


def request_input(application: str, request_sha256: bytes) -> bytes:
    """Return what is authenticated of a request with a secret in it, by which its repeat is known."""
    return tlv.sequence([(0x84, application.encode()), (0x85, request_sha256)])


def upload_input(
    upload: str, application: str, media_type: str, size: int, content_sha256: bytes | None
) -> bytes:
    """Return what is authenticated of content that was handed in by itself; ``size`` is in bytes.

    Raises:
        OverflowError: a size that no content has.
    """
    return tlv.sequence(
        [
            (0x86, upload.encode()),
            (0x87, application.encode()),
            (0x88, media_type.encode()),
            (0x89, size.to_bytes(_SIZE_BYTES, "big")),
            (0x8A, content_sha256 or b""),
        ]
    )


def activation_input(application: str, keyset: str, salt: bytes) -> bytes:
    """Return what the key ``activation`` authenticates to yield the activation code of a keyset."""
    return tlv.sequence([(0x80, application.encode()), (0x81, keyset.encode()), (0x82, salt)])
