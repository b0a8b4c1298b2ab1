"""Vectors of the message with all its proofs, and of what is no message."""

import hashlib
from collections.abc import Iterator

from gateway.wire import code, tlv
from gateway.wire.message import KEY_MEDIA_TYPE, Message, Operation
from tests.vectors.writing import material, rsa_wrapping
from tests.vectors.writing.case import Case, refused, valid


def _message_case(name: str, message: Message) -> Case:
    full = material.mac(material.KHMAC, message.encode())
    return valid(
        "message",
        name,
        operation=int(message.operation),
        application=message.application,
        user=message.user,
        transaction=message.transaction,
        title=message.title,
        media_type=message.media_type,
        content_sha256=message.content_digest.hex(),
        fingerprint=message.fingerprint.hex(),
        step=message.step,
        message=message.encode().hex(),
        sha256=message.digest().hex(),
        khmac=material.KHMAC.hex(),
        code=full.hex(),
        short_codes={str(digits): code.truncate(full, digits) for digits in range(6, 11)},
        kpublic=material.spki_of(material.KPRIVATE).hex(),
        signature=material.sign(material.KPRIVATE, message.digest()).hex(),
    )


def message_cases() -> Iterator[Case]:
    """Messages with all their proofs."""
    key = hashlib.sha256(material.spki_of(material.KPRIVATE)).digest()
    about_keys = {"transaction": None, "title": None, "media_type": KEY_MEDIA_TYPE, "content_digest": key}
    alone = {"transaction": None, "title": None}
    messages = {
        "approve a payment": material.message(),
        "decline the same payment": material.message(Operation.DECLINE),
        "approve without a title, not bound to a device": material.message(title=None, fingerprint=b""),
        "authenticate for a transaction": material.message(Operation.AUTHENTICATE),
        "authenticate with data of the phone": material.message(Operation.AUTHENTICATE, **alone),
        "register a key": material.message(Operation.REGISTER_KEY, **about_keys),
        "renew the keys": material.message(
            Operation.RENEW_KEYS,
            **about_keys | {"content_digest": hashlib.sha256(rsa_wrapping.spki()).digest()},
        ),
        "longest ids, title and media type": material.message(
            application="a" * 64, user="u" * 64, transaction="t" * 64, title="ß" * 128, media_type="m" * 255
        ),
        "text is never normalised": material.message(
            title="a\N{COMBINING RING ABOVE}", user="\N{ANGSTROM SIGN}"
        ),
        "step zero": material.message(step=0),
        "the greatest step": material.message(step=2**64 - 1),
    }
    for name, message in messages.items():
        yield _message_case(name, message)
    yield from _refused_messages()


GOOD = material.message().encode()
USER = tlv.encode(0xA1, tlv.sequence([(0x80, b"a"), (0x81, b"u")]))
TAIL = USER + bytes.fromhex("8200") + bytes.fromhex("83080000000000000001")
DIGEST = tlv.encode(0x83, bytes(32))
APPROVE, ALONE = bytes.fromhex("800101810174"), bytes.fromhex("800103")
PLAIN = tlv.encode(0x82, b"text/plain")


def _with_data(data: bytes) -> bytes:
    return tlv.encode(0xA0, data) + TAIL


def _data() -> bytes:
    parts = [(0x80, b"\x01"), (0x81, b"t"), (0x82, b"text/plain"), (0x83, bytes(32))]
    return tlv.encode(0xA0, tlv.sequence(parts))


def _long_user() -> bytes:
    found = tlv.sequence([(0x80, b"a"), (0x81, b"u" * 65)])
    return _data() + tlv.encode(0xA1, found) + bytes.fromhex("820083080000000000000001")


def _ends(fingerprint: bytes, step: bytes) -> bytes:
    return _data() + USER + fingerprint + tlv.encode(0x83, step)


NOT_MESSAGES = (
    ("a byte too many", "tlv_truncated", GOOD + b"\x84"),
    ("the last byte missing", "tlv_truncated", GOOD[:-1]),
    ("an unknown operation", "out_of_range", _with_data(b"\x80\x01\x06\x81\x01t" + PLAIN + DIGEST)),
    ("operation zero", "out_of_range", _with_data(b"\x80\x01\x00\x81\x01t" + PLAIN + DIGEST)),
    ("an operation of two bytes", "length", _with_data(b"\x80\x02\x00\x01\x81\x01t" + PLAIN + DIGEST)),
    ("approve without a transaction", "tlv_missing", _with_data(b"\x80\x01\x01" + PLAIN + DIGEST)),
    ("decline without a transaction", "tlv_missing", _with_data(b"\x80\x01\x02" + PLAIN + DIGEST)),
    (
        "register a key for a transaction",
        "tlv_unknown",
        _with_data(b"\x80\x01\x04\x81\x01t" + tlv.encode(0x82, KEY_MEDIA_TYPE.encode()) + DIGEST),
    ),
    ("register a key as plain text", "media_type", _with_data(b"\x80\x01\x04" + PLAIN + DIGEST)),
    ("a title without a transaction", "tlv_unknown", _with_data(ALONE + PLAIN + DIGEST + b"\x84\x01T")),
    ("an empty title", "empty", _with_data(APPROVE + PLAIN + DIGEST + b"\x84\x00")),
    (
        "a title of 257 bytes",
        "too_long",
        _with_data(APPROVE + PLAIN + DIGEST + tlv.encode(0x84, b"T" * 257)),
    ),
    ("U+0000 in the title", "not_text", _with_data(APPROVE + PLAIN + DIGEST + b"\x84\x02T\x00")),
    (
        "a surrogate in the title",
        "not_text",
        _with_data(APPROVE + PLAIN + DIGEST + b"\x84\x03\xed\xa0\x80"),
    ),
    ("an overlong title", "not_text", _with_data(APPROVE + PLAIN + DIGEST + b"\x84\x02\xc1\x81")),
    ("a digest of 31 bytes", "length", _with_data(APPROVE + PLAIN + tlv.encode(0x83, bytes(31)))),
    ("no media type", "tlv_missing", _with_data(APPROVE + DIGEST)),
    ("a user id of 65 bytes", "too_long", _long_user()),
    ("a fingerprint of 31 bytes", "length", _ends(tlv.encode(0x82, bytes(31)), bytes(8))),
    ("a step of 7 bytes", "length", _ends(bytes.fromhex("8200"), bytes(7))),
    ("no fingerprint", "tlv_missing", _ends(b"", bytes(8))),
)


def _refused_messages() -> Iterator[Case]:

    for name, reason, data in NOT_MESSAGES:
        yield refused("message", name, reason, lambda data=data: Message.decode(data), message=data.hex())
