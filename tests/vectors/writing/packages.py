"""Vectors of the package: policy, secrets, wrapping, QR text; and of the offline transaction."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace

from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from gateway.wire import secret, tlv
from gateway.wire.package import (
    DeviceFields,
    Flags,
    OaepHash,
    Package,
    PackagePolicy,
    PasswordClasses,
    RsaWrapping,
    SecretWrapping,
)
from gateway.wire.timestep import unix_seconds
from tests.vectors.writing import material, rsa_wrapping
from tests.vectors.writing.case import Case, refused, valid

CODE = secret.new_code(bytes(range(0x10, 0x1A)))
INSIDE = secret.new_package_secret(bytes(range(0x20, 0x30)))
SHARED = "a secret of the app: \N{LATIN SMALL LETTER O WITH DIAERESIS}"
POLICY = PackagePolicy(
    flags=Flags.BIND_TO_DEVICE | Flags.KPUBLIC_REQUIRED,
    password_length=8,
    password_classes=PasswordClasses.LOWER | PasswordClasses.DIGIT,
    device_fields=DeviceFields.MODEL | DeviceFields.OS,
)


def _package(word: str, iterations: int = secret.RANDOM_ITERATIONS) -> Package:
    key = secret.kek(word, material.SALT, iterations)
    return Package(
        issuer=material.ISSUER,
        application=material.APPLICATION,
        user=material.USER,
        keyset=material.KEYSET,
        url=material.URL,
        valid_until=material.UNTIL,
        policy=POLICY,
        wrapping=SecretWrapping(material.SALT, iterations),
        khmac=aes_key_wrap(key, material.KHMAC),
        kauth=aes_key_wrap(key, material.KAUTH),
    )


def with_code() -> Package:
    """The package that goes with the activation code."""
    return _package(CODE)


def _sealed(which: OaepHash) -> Package:
    return replace(
        with_code(),
        wrapping=RsaWrapping(which),
        khmac=rsa_wrapping.wrap(material.KHMAC, which),
        kauth=rsa_wrapping.wrap(material.KAUTH, which),
    )


def _case(name: str, package: Package, word: str | None) -> Case:
    wrapping = package.wrapping
    how = (
        {"method": 1, "salt": wrapping.salt.hex(), "iterations": wrapping.iterations, "opened_by": word}
        if isinstance(wrapping, SecretWrapping)
        else {"method": 2, "hash": int(wrapping.hash)}
    )
    return valid(
        "package",
        name,
        issuer=package.issuer,
        application=package.application,
        user=package.user,
        keyset=package.keyset,
        url=package.url,
        valid_until=unix_seconds(package.valid_until),
        policy=package.policy.encode().hex(),
        **how,
        secret=package.secret,
        door_pin=None if package.door_pin is None else package.door_pin.hex(),
        khmac=material.KHMAC.hex(),
        kauth=material.KAUTH.hex(),
        package=package.encode().hex(),
        digest=package.digest().hex(),
        qr=package.to_qr(),
    )


def package_cases() -> Iterator[Case]:
    """Packages of each delivery, and what is no package."""
    pin = hashlib.sha256(b"the SPKI of a private authority").digest()
    yield _case("qr_and_code: opened by an activation code", with_code(), CODE)
    yield _case("qr: the secret is inside", replace(_package(INSIDE), secret=INSIDE), INSIDE)
    yield _case("qr with a pin of the door", replace(_package(INSIDE), secret=INSIDE, door_pin=pin), INSIDE)
    yield _case("online: a secret that people chose", _package(SHARED, secret.CHOSEN_ITERATIONS), SHARED)
    for which in OaepHash:
        yield _case(f"sealed or renewed, {which.name}", _sealed(which), None)
    yield from _refused_packages()


PARTS = tlv.decode(with_code().encode(), required=(0x80, *range(0x81, 0x87), 0xA7, 0xA8, 0x89, 0x8A))
BY_SECRET = [(0x80, b"\x01"), (0x81, bytes(16)), (0x82, (10_000).to_bytes(4, "big"))]


def changed(tag: int, value: bytes | None) -> bytes:
    """The package with another value of a tag, or without it."""
    ordered = sorted({**PARTS, tag: value}.items(), key=lambda part: part[0] & 0x1F)
    return b"".join(tlv.encode(number, data) for number, data in ordered if data is not None)


def wrapped_by(*parts: tuple[int, bytes]) -> bytes:
    """The package with another wrapping."""
    return changed(0xA8, tlv.sequence(parts))


NOT_PACKAGES = (
    ("version 2", "version", changed(0x80, b"\x02")),
    ("no keyset", "tlv_missing", changed(0x84, None)),
    ("an unknown tag", "tlv_unknown", changed(0x8D, b"x")),
    ("an issuer of 65 bytes", "too_long", changed(0x81, b"i" * 65)),
    ("another scheme", "url", changed(0x85, b"ftp://confirm.bank.example")),
    ("a slash at the end", "url", changed(0x85, b"https://confirm.bank.example/")),
    ("a query", "url", changed(0x85, b"https://confirm.bank.example?x=1")),
    ("a space in the URL", "url", changed(0x85, b"https://confirm.bank example")),
    ("no host", "url", changed(0x85, b"https://")),
    ("validity of 4 bytes", "length", changed(0x86, bytes(4))),
    ("valid beyond the year 9999", "out_of_range", changed(0x86, b"\xff" * 8)),
    ("unknown method", "out_of_range", changed(0xA8, bytes.fromhex("800103"))),
    ("a method of two bytes", "out_of_range", changed(0xA8, bytes.fromhex("80020001"))),
    ("method 01 with a hash", "tlv_unknown", wrapped_by(*BY_SECRET, (0x83, b"\x02"))),
    ("method 01 without a salt", "tlv_missing", wrapped_by(BY_SECRET[0], BY_SECRET[2])),
    ("a salt of 8 bytes", "length", wrapped_by(BY_SECRET[0], (0x81, bytes(8)), BY_SECRET[2])),
    ("9999 iterations", "out_of_range", wrapped_by(*BY_SECRET[:2], (0x82, bytes.fromhex("0000270f")))),
    ("iterations of 3 bytes", "length", wrapped_by(*BY_SECRET[:2], (0x82, bytes.fromhex("0fffff")))),
    ("unknown hash", "out_of_range", changed(0xA8, bytes.fromhex("800102830105"))),
    ("Khmac of 32 bytes", "length", changed(0x89, bytes(32))),
    ("Kauth of 48 bytes", "length", changed(0x8A, bytes(48))),
    ("a secret of 25 symbols", "secret", changed(0x8B, b"0" * 25)),
    ("a secret in small letters", "secret", changed(0x8B, b"a" * 26)),
    ("a pin of 20 bytes", "length", changed(0x8C, bytes(20))),
)


def _refused_packages() -> Iterator[Case]:
    for name, reason, data in NOT_PACKAGES:
        yield refused("package", name, reason, lambda data=data: Package.decode(data), package=data.hex())
    sealed = _sealed(OaepHash.SHA256).encode() + tlv.encode(0x8B, b"0" * 26)
    name = "a secret beside keys that are sealed"
    yield refused("package", name, "tlv_unknown", lambda: Package.decode(sealed), package=sealed.hex())
    yield from refused_texts("package", Package.from_qr, with_code().to_qr())


def refused_texts(kind: str, read: Callable[[str], object], good: str) -> Iterator[Case]:
    for name, reason, text in (
        ("no prefix", "prefix", good[4:]),
        ("small letters", "prefix", good.lower()),
        ("another prefix", "prefix", "XX1:" + good[4:]),
        ("a broken symbol", "base45", good[:-1] + "!"),
        ("a line end", "base45", good + "\n"),
    ):
        yield refused(kind, f"QR text: {name}", reason, lambda text=text: read(text), qr=text)


EVERY_FIELD = DeviceFields(sum(DeviceFields))
POLICIES = (
    ("defaults", PackagePolicy()),
    ("the policy of the packages", POLICY),
    (
        "everything",
        PackagePolicy(
            flags=Flags(0x1F),
            password_length=64,
            password_classes=PasswordClasses(15),
            step_seconds=65535,
            digits=10,
            device_fields=EVERY_FIELD,
        ),
    ),
    ("no short codes for data that stands alone", PackagePolicy(digits=0)),
    ("device fields without a name yet", PackagePolicy(device_fields=DeviceFields(0xFFFF))),
)


def policy_cases() -> Iterator[Case]:
    """The policy of a package and of answers."""
    for name, policy in POLICIES:
        yield valid(
            "policy",
            name,
            flags=int(policy.flags),
            password_length=policy.password_length,
            password_classes=int(policy.password_classes),
            step_seconds=policy.step_seconds,
            digits=policy.digits,
            device_fields=int(policy.device_fields),
            policy=policy.encode().hex(),
        )
    good = PackagePolicy().encode().hex()
    for name, reason, data in (
        ("an unknown flag", "unknown_bit", good.replace("80020000", "80020020")),
        ("an unknown class of characters", "unknown_bit", good.replace("820100", "820110")),
        ("a password of 5 characters", "out_of_range", good.replace("810106", "810105")),
        ("a password of 65 characters", "out_of_range", good.replace("810106", "810141")),
        ("steps of 0 seconds", "out_of_range", good.replace("830200b4", "83020000")),
        ("5 digits", "digits", good.replace("840108", "840105")),
        ("11 digits", "digits", good.replace("840108", "84010b")),
        ("flags of one byte", "length", good.replace("80020000", "800100")),
        ("no device fields", "tlv_missing", good[:-8]),
        ("a byte too many", "tlv_truncated", good + "86"),
    ):
        read = bytes.fromhex(data)
        yield refused("policy", name, reason, lambda read=read: PackagePolicy.decode(read), policy=data)
