"""Which RSA key do the vectors wrap to, and how is its padding the same each time? RFC 8017 section 7.1.1."""

import hashlib

from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.wire import rsakey
from gateway.wire.wrapping import OaepHash

RSA_P = int(
    "f31bf686b6f55e4b7b4c5badea958b34f829102b2a73e3140834e544be0bf8ada118cf3bf34b1d6df513bbe74ecbd240"
    "0c342cb740655a807e99305bde37b4bcaab6ca4932109af33db032b197e8e1a2bdc691322221989c3bd2e6f567bb43d7"
    "88f0c6f4b2391736812fbdd07fe78b1622be3318529f26de9b6f91df1260d79f34547eca449462109f4cede35c49364e"
    "af1b07c37a01509be236f0ac48cb908f4ddc01849fd290442824fc18ef05a0b62bf972e49b440cd812296441bbaa1af5",
    16,
)
RSA_Q = int(
    "cb17bd52f90472cc657a8f81a21b164fa5aac5d2df89078bbc5940d22a9af8574a260c2f8be75b740031f607063d463d"
    "68d996eb056b4670d89f1be9227ecde3d5c4003796c98f4c834485bff823fe44f7d0d4509e70b76f53cbe9bfe9d4bffb"
    "399fd9b6d26dd8fa56aaefada8bfdbd707a79fd285e40a51e086cdf754209fb3e6dada6c12413ec7df8190ef2f18ec92"
    "8da43e4ad506a1fb95d5752f34db0729ea5a4c97bc6bb832a7c40baf03690bef2e456abb4f479b70d1c70bcc29a0648d",
    16,
)
EXPONENT = 65537
MODULUS = RSA_P * RSA_Q
SIZE = MODULUS.bit_length() // 8
NAMES = {
    OaepHash.SHA1: "sha1",
    OaepHash.SHA256: "sha256",
    OaepHash.SHA384: "sha384",
    OaepHash.SHA512: "sha512",
}


def spki() -> bytes:
    """The public key."""
    return rsakey.spki_from_rsa(MODULUS, EXPONENT)


def private_exponent() -> int:
    """What a verifier needs to unwrap."""
    return rsa.rsa_recover_private_exponent(EXPONENT, RSA_P, RSA_Q)


def _mask(seed: bytes, size: int, name: str) -> bytes:
    blocks = range(size // hashlib.new(name).digest_size + 1)
    mask = b"".join(hashlib.new(name, seed + block.to_bytes(4, "big")).digest() for block in blocks)
    return mask[:size]


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def wrap(key: bytes, which: OaepHash) -> bytes:
    """One block with a fixed seed. Only for vectors: a fixed seed gives equal keys away."""
    name = NAMES[which]
    empty = hashlib.new(name).digest()
    seed = hashlib.new(name, b"the seed of the vectors").digest()
    filling = bytes(SIZE - len(key) - 2 * len(empty) - 2)
    block = empty + filling + b"\x01" + key
    masked = _xor(block, _mask(seed, len(block), name))
    masked_seed = _xor(seed, _mask(masked, len(seed), name))
    return pow(int.from_bytes(masked_seed + masked, "big"), EXPONENT, MODULUS).to_bytes(SIZE, "big")
