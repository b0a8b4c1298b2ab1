"""Vectors of public keys: P-256 to verify with, RSA to wrap to."""

from collections.abc import Iterator

from gateway.wire import rsakey, spki
from tests.vectors.writing import material, rsa_wrapping
from tests.vectors.writing.case import Case, refused, valid

KEYS = (("Kpublic", material.KPRIVATE), ("receipt key", material.RECEIPT_KEY))


GOOD = material.spki_of(material.KPRIVATE)
X, Y = GOOD[27:59], GOOD[59:]
FIELD = 2**256 - 2**224 + 2**192 + 2**96 - 1
HEAD = GOOD[:27]
OTHER_CURVE = bytes.fromhex("3056301006072a8648ce3d020106052b8104000a034200") + GOOD[26:]
OTHER_ALGORITHM = GOOD.replace(bytes.fromhex("2a8648ce3d0201"), bytes.fromhex("2b8104010c"))
SHORT_HEAD = bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200")
NOT_KEYS = (
    ("a byte too many", "spki", GOOD + b"\x00"),
    ("a byte too few", "spki", GOOD[:-1]),
    ("another curve, secp256k1", "spki", OTHER_CURVE),
    ("another algorithm, id-ecDH", "spki", OTHER_ALGORITHM),
    ("unused bits", "spki", GOOD[:25] + b"\x01" + GOOD[26:]),
    ("compressed", "spki", SHORT_HEAD + bytes([2 + Y[-1] % 2]) + X),
    ("marked as hybrid", "point", GOOD[:26] + bytes([6 + Y[-1] % 2]) + X + Y),
    ("not on the curve", "point", HEAD + X + bytes([Y[0] ^ 1]) + Y[1:]),
    ("the point (0, 0)", "point", HEAD + bytes(64)),
    ("x equal to p", "point", HEAD + FIELD.to_bytes(32, "big") + Y),
    ("y plus p, not reduced", "point", HEAD + bytes(32) + (2**256 - 1).to_bytes(32, "big")),
)  # fmt: skip


def key_cases() -> Iterator[Case]:
    """Public keys: P-256 to verify with, RSA to wrap to."""
    for name, key in KEYS:
        point = material.point_of(key)
        der = spki.spki_from_point(point).hex()
        yield valid("spki", name, spki=der, point=point.hex(), thumbprint=spki.jwk_thumbprint(point))
    for name, reason, der in NOT_KEYS:
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
