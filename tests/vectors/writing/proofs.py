"""Vectors of the message and of its proofs: code, short code, signature, public key."""

import hashlib
from collections.abc import Iterator

from gateway.wire import code, rsakey, signature, spki, tlv
from gateway.wire.message import KEY_MEDIA_TYPE, Message, Operation
from tests.vectors.writing import material, rsa_wrapping
from tests.vectors.writing.case import Case, refused, valid

ORDER = signature.ORDER
# RFC 4226 appendix D: HMAC-SHA-1 values of counters 0 to 9 and their six digits.
RFC_4226 = (
    ("cc93cf18508d94934c64b65d8ba7667fb7cde4b0", "755224"),
    ("75a48a19d4cbe100644e8ac1397eea747a2d33ab", "287082"),
    ("0bacb7fa082fef30782211938bc1c5e70416ff44", "359152"),
    ("66c28227d03a2d5529262ff016a1e6ef76557ece", "969429"),
    ("a904c900a64b35909874b33e61c5938a8e15ed1c", "338314"),
    ("a37e783d7b7233c083d4f62926c7a25f238d0316", "254676"),
    ("bc9cd28561042c83f219324d3c607256c03272ae", "287922"),
    ("a4fb960c0bc06e1eabb804e5b397cdc4b45596fa", "162583"),
    ("1b3c89f65e6c9e883012052823443f048b4332db", "399871"),
    ("1637409809a679dc698207310c8c7fc07290d9e5", "520489"),
)


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


def _refused_messages() -> Iterator[Case]:
    good = material.message().encode()
    user = tlv.encode(0xA1, tlv.sequence([(0x80, b"a"), (0x81, b"u")]))
    tail = user + bytes.fromhex("8200") + bytes.fromhex("83080000000000000001")
    digest = tlv.encode(0x83, bytes(32))
    approve, alone = bytes.fromhex("800101810174"), bytes.fromhex("800103")
    plain = tlv.encode(0x82, b"text/plain")

    def with_data(data: bytes) -> bytes:
        return tlv.encode(0xA0, data) + tail

    for name, reason, data in (
        ("a byte too many", "tlv_truncated", good + b"\x84"),
        ("the last byte missing", "tlv_truncated", good[:-1]),
        ("an unknown operation", "out_of_range", with_data(b"\x80\x01\x06\x81\x01t" + plain + digest)),
        ("operation zero", "out_of_range", with_data(b"\x80\x01\x00\x81\x01t" + plain + digest)),
        ("an operation of two bytes", "length", with_data(b"\x80\x02\x00\x01\x81\x01t" + plain + digest)),
        ("approve without a transaction", "tlv_missing", with_data(b"\x80\x01\x01" + plain + digest)),
        ("decline without a transaction", "tlv_missing", with_data(b"\x80\x01\x02" + plain + digest)),
        (
            "register a key for a transaction",
            "tlv_unknown",
            with_data(b"\x80\x01\x04\x81\x01t" + tlv.encode(0x82, KEY_MEDIA_TYPE.encode()) + digest),
        ),
        ("register a key as plain text", "media_type", with_data(b"\x80\x01\x04" + plain + digest)),
        ("a title without a transaction", "tlv_unknown", with_data(alone + plain + digest + b"\x84\x01T")),
        ("an empty title", "empty", with_data(approve + plain + digest + b"\x84\x00")),
        (
            "a title of 257 bytes",
            "too_long",
            with_data(approve + plain + digest + tlv.encode(0x84, b"T" * 257)),
        ),
        ("U+0000 in the title", "not_text", with_data(approve + plain + digest + b"\x84\x02T\x00")),
        (
            "a surrogate in the title",
            "not_text",
            with_data(approve + plain + digest + b"\x84\x03\xed\xa0\x80"),
        ),
        ("an overlong title", "not_text", with_data(approve + plain + digest + b"\x84\x02\xc1\x81")),
        ("a digest of 31 bytes", "length", with_data(approve + plain + tlv.encode(0x83, bytes(31)))),
        ("no media type", "tlv_missing", with_data(approve + digest)),
        ("a user id of 65 bytes", "too_long", _long_user()),
        ("a fingerprint of 31 bytes", "length", _ends(tlv.encode(0x82, bytes(31)), bytes(8))),
        ("a step of 7 bytes", "length", _ends(bytes.fromhex("8200"), bytes(7))),
        ("no fingerprint", "tlv_missing", _ends(b"", bytes(8))),
    ):
        yield refused("message", name, reason, lambda data=data: Message.decode(data), message=data.hex())


def _data() -> bytes:
    parts = [(0x80, b"\x01"), (0x81, b"t"), (0x82, b"text/plain"), (0x83, bytes(32))]
    return tlv.encode(0xA0, tlv.sequence(parts))


def _long_user() -> bytes:
    user = tlv.sequence([(0x80, b"a"), (0x81, b"u" * 65)])
    return _data() + tlv.encode(0xA1, user) + bytes.fromhex("820083080000000000000001")


def _ends(fingerprint: bytes, step: bytes) -> bytes:
    user = tlv.sequence([(0x80, b"a"), (0x81, b"u")])
    return _data() + tlv.encode(0xA1, user) + fingerprint + tlv.encode(0x83, step)


def code_cases() -> Iterator[Case]:
    """Truncation: the published vectors, each offset, and zeros on the left."""
    for counter, (mac, digits) in enumerate(RFC_4226):
        found = code.dynamic_truncate(bytes.fromhex(mac), 6)
        if found != digits:
            raise AssertionError(f"RFC 4226 counter {counter}: {found}")
        yield valid(
            "truncate", f"RFC 4226 appendix D, counter {counter}", mac=mac, digits=6, short_code=digits
        )
    for offset in range(16):
        mac = hashlib.sha256(bytes([offset])).digest()[:31] + bytes([0xF0 | offset])
        for digits in range(6, 11):
            short = code.truncate(mac, digits)
            name = f"offset {offset}, {digits} digits"
            yield valid("truncate", name, mac=mac.hex(), digits=digits, short_code=short)
    for name, mac in (("all zero", bytes(32)), ("all ones", b"\xff" * 32)):
        for digits in range(6, 11):
            short = code.truncate(mac, digits)
            yield valid(
                "truncate", f"{name}, {digits} digits", mac=mac.hex(), digits=digits, short_code=short
            )
    for digits in (0, 5, 11):
        name = f"{digits} digits"
        yield refused(
            "truncate",
            name,
            "digits",
            lambda d=digits: code.truncate(bytes(32), d),
            mac="00" * 32,
            digits=digits,
        )


def _integer(value: int) -> bytes:
    octets = value.to_bytes(value.bit_length() // 8 + 1, "big")
    return bytes([2, len(octets)]) + octets


def _pair(r: bytes, s: bytes) -> bytes:
    return bytes([0x30, len(r + s)]) + r + s


def signature_cases() -> Iterator[Case]:
    """DER that is a signature of P-256, and what is not: the oddities that lenient readers let pass."""
    one = bytes.fromhex("020101")
    for name, r, s in (
        ("smallest r and s", 1, 1),
        ("greatest r and s", ORDER - 1, ORDER - 1),
        ("r with a leading zero byte", 1 << 255, 1),
        ("r of 31 bytes", (1 << 247) - 1, ORDER // 2),
        ("high s", ORDER // 3, ORDER - 5),
    ):
        der = _pair(_integer(r), _integer(s))
        yield valid("signature", name, der=der.hex(), raw=signature.raw_from_der(der).hex())
    good = _pair(_integer(ORDER // 3), _integer(ORDER // 5))
    for name, reason, der in (
        ("nothing", "der", b""),
        ("the last byte missing", "der", good[:-1]),
        ("a byte too many", "der", good + b"\x00"),
        ("a byte too many inside", "der", bytes([0x30, len(good) - 1]) + good[2:] + b"\x00"),
        ("a long length", "der", b"\x30\x81" + good[1:]),
        ("an indefinite length", "der", b"\x30\x80" + good[2:] + b"\x00\x00"),
        ("a set", "der", b"\x31" + good[1:]),
        ("only r", "der", bytes([0x30, 6]) + bytes.fromhex("020400010203")),
        ("three numbers", "der", bytes([0x30, 9]) + one * 3),
        ("r padded with a zero byte", "der", _pair(bytes.fromhex("02020001"), one)),
        ("s padded with a zero byte", "der", _pair(one, bytes.fromhex("02020001"))),
        ("r negative", "der", _pair(bytes.fromhex("0201ff"), one)),
        ("s negative", "der", _pair(one, bytes.fromhex("020180"))),
        ("r without bytes", "der", _pair(bytes.fromhex("0200"), _integer(ORDER // 5))),
        ("r with a long length", "der", _pair(bytes.fromhex("02810101"), one)),
        ("r as an octet string", "der", _pair(bytes.fromhex("040101"), one)),
        ("r longer than its sequence", "der", bytes.fromhex("3006027f01020101")),
        ("raw r and s", "der", bytes(range(1, 65))),
        ("r zero", "signature_range", _pair(bytes.fromhex("020100"), one)),
        ("s zero", "signature_range", _pair(one, bytes.fromhex("020100"))),
        ("r equal to n", "signature_range", _pair(_integer(ORDER), one)),
        ("s equal to n", "signature_range", _pair(one, _integer(ORDER))),
        ("r of 256 ones", "signature_range", _pair(_integer(2**256 - 1), one)),
        ("r of 33 bytes", "signature_range", _pair(_integer(1 << 256), one)),
    ):
        yield refused("signature", name, reason, lambda der=der: signature.raw_from_der(der), der=der.hex())


def key_cases() -> Iterator[Case]:
    """Public keys: P-256 to verify with, RSA to wrap to."""
    for name, key in (("Kpublic", material.KPRIVATE), ("receipt key", material.RECEIPT_KEY)):
        point = material.point_of(key)
        der = spki.spki_from_point(point).hex()
        yield valid("spki", name, spki=der, point=point.hex(), thumbprint=spki.jwk_thumbprint(point))
    good = material.spki_of(material.KPRIVATE)
    x, y = good[27:59], good[59:]
    field = 2**256 - 2**224 + 2**192 + 2**96 - 1
    head = good[:27]
    other_curve = bytes.fromhex("3056301006072a8648ce3d020106052b8104000a034200") + good[26:]
    other_algorithm = good.replace(bytes.fromhex("2a8648ce3d0201"), bytes.fromhex("2b8104010c"))
    short_head = bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200")
    for name, reason, der in (
        ("a byte too many", "spki", good + b"\x00"),
        ("a byte too few", "spki", good[:-1]),
        ("another curve, secp256k1", "spki", other_curve),
        ("another algorithm, id-ecDH", "spki", other_algorithm),
        ("unused bits", "spki", good[:25] + b"\x01" + good[26:]),
        ("compressed", "spki", short_head + bytes([2 + y[-1] % 2]) + x),
        ("marked as hybrid", "point", good[:26] + bytes([6 + y[-1] % 2]) + x + y),
        ("not on the curve", "point", head + x + bytes([y[0] ^ 1]) + y[1:]),
        ("the point (0, 0)", "point", head + bytes(64)),
        ("x equal to p", "point", head + field.to_bytes(32, "big") + y),
        ("y plus p, not reduced", "point", head + bytes(32) + (2**256 - 1).to_bytes(32, "big")),
    ):  # fmt: skip
        yield refused("spki", name, reason, lambda der=der: spki.point_from_spki(der), spki=der.hex())
    yield from _rsa_cases()


def _rsa_cases() -> Iterator[Case]:
    good, modulus = rsa_wrapping.spki(), rsa_wrapping.MODULUS
    without_null = good.replace(
        *map(bytes.fromhex, ("300d06092a864886f70d0101010500", "300b06092a864886f70d010101"))
    )
    numbers = {"modulus": f"{modulus:x}", "exponent": 65537}
    yield valid("rsa_spki", "3072 bits to renew", least_bits=3072, spki=good.hex(), **numbers)
    yield valid("rsa_spki", "3072 bits sealed", least_bits=2048, spki=good.hex(), **numbers)
    for name, reason, least, der in (
        ("too short", "rsa_size", 4096, good),
        ("2048 bits to renew", "rsa_size", 3072, rsakey.spki_from_rsa(modulus >> 1024 | 1)),
        ("an even modulus", "rsa_size", 3072, rsakey.spki_from_rsa(modulus + 1)),
        ("exponent 3", "rsa_size", 3072, rsakey.spki_from_rsa(modulus, 3)),
        ("exponent 65538", "rsa_size", 3072, rsakey.spki_from_rsa(modulus, 65538)),
        ("a byte too many", "spki", 3072, good + b"\x00"),
        ("a byte too few", "spki", 3072, good[:-1]),
        ("no NULL in the algorithm", "spki", 3072, without_null),
        ("an EC key", "spki", 3072, material.spki_of(material.KPRIVATE)),
        ("nothing", "spki", 3072, b""),
    ):  # fmt: skip
        yield refused(
            "rsa_spki",
            name,
            reason,
            lambda der=der, least=least: rsakey.rsa_from_spki(der, least_bits=least),
            least_bits=least,
            spki=der.hex(),
        )
