"""What do a message, a policy, a package and an offline transaction say?"""

import hashlib
import re
from typing import Any

from tests.vectors.reading import crypto
from tests.vectors.reading.octets import Refused, base45, need, number, read_tlv, text, tlv, to_base45

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
Case = dict[str, Any]


def message_fields(data: bytes) -> Case:
    """Everything inside a message."""
    parts = read_tlv(data, (0xA0, 0xA1, 0x82, 0x83), empty=(0x82,))
    about = read_tlv(parts[0xA0], (0x80, 0x82, 0x83), (0x81, 0x84))
    who = read_tlv(parts[0xA1], (0x80, 0x81))
    found: Case = {
        "operation": number(about[0x80], 1),
        "application": text(who[0x80]),
        "user": text(who[0x81]),
        "transaction": text(about[0x81]) if 0x81 in about else None,
        "title": text(about[0x84], 256) if 0x84 in about else None,
        "media_type": text(about[0x82], 255),
        "content_sha256": about[0x83].hex(),
        "fingerprint": parts[0x82].hex(),
        "step": number(parts[0x83], 8),
    }
    need(1 <= found["operation"] <= 5, "out_of_range")
    need(len(about[0x83]) == 32 and len(parts[0x82]) in (0, 32), "length")
    need(found["operation"] > 2 or found["transaction"], "tlv_missing")
    if found["operation"] > 3:
        need(found["transaction"] is None, "tlv_unknown")
        need(found["media_type"] == "application/spki", "media_type")
    need(found["title"] is None or found["transaction"], "tlv_unknown")
    return found


def message(case: Case) -> Case:
    """A message with its proofs."""
    data = bytes.fromhex(case["message"])
    found = message_fields(data)
    full = crypto.mac(bytes.fromhex(case["khmac"]), data)
    crypto.verify(bytes.fromhex(case["kpublic"]), data, bytes.fromhex(case["signature"]))
    return found | {
        "sha256": hashlib.sha256(data).hexdigest(),
        "code": full.hex(),
        "short_codes": {str(digits): crypto.short_code(full, digits) for digits in range(6, 11)},
    }


def policy_fields(data: bytes) -> Case:
    """Everything inside a policy."""
    found = read_tlv(data, range(0x80, 0x86))
    sizes = {"flags": 2, "password_length": 1, "password_classes": 1, "step_seconds": 2, "digits": 1}
    sizes["device_fields"] = 2
    values = {name: number(found[0x80 + at], size) for at, (name, size) in enumerate(sizes.items())}
    need(values["flags"] < 32 and values["password_classes"] < 16, "unknown_bit")
    need(6 <= values["password_length"] <= 64 and values["step_seconds"], "out_of_range")
    need(values["digits"] in (0, 6, 7, 8, 9, 10), "digits")
    return values


def _wrapping(data: bytes) -> Case:
    method = read_tlv(data, (0x80,), (0x81, 0x82, 0x83))[0x80]
    need(method in (b"\1", b"\2"), "out_of_range")
    if method == b"\2":
        which = number(read_tlv(data, (0x80, 0x83))[0x83], 1)
        need(1 <= which <= 4, "out_of_range")
        return {"method": 2, "hash": which}
    found = read_tlv(data, (0x80, 0x81, 0x82))
    need(len(found[0x81]) == 16, "length")
    iterations = number(found[0x82], 4)
    need(10_000 <= iterations <= 10_000_000, "out_of_range")
    return {"method": 1, "salt": found[0x81].hex(), "iterations": iterations}


def _from_qr(case: Case, name: str, prefix: str) -> bytes:
    if name not in case:
        need(case["qr"].startswith(prefix), "prefix")
        return base45(case["qr"][len(prefix) :])
    data = bytes.fromhex(case[name])
    if "qr" in case and case["qr"] != prefix + to_base45(data):
        raise Refused("qr")
    return data


def package(case: Case, private: dict[str, str]) -> Case:
    """A package and the keys inside it."""
    data = _from_qr(case, "package", "PC1:")
    found = read_tlv(data, (*range(0x80, 0x87), 0xA7, 0xA8, 0x89, 0x8A), (0x8B, 0x8C))
    need(found[0x80] == b"\1", "version")
    url, until = text(found[0x85], 256), number(found[0x86], 8)
    need(until <= 253402300799, "out_of_range")
    how = _wrapping(found[0xA8])
    policy_fields(found[0xA7])
    need(re.fullmatch(r"https?://[\x21-\x7e]+", url) and url[-1] != "/" and not set(url) & set("?#"), "url")
    sizes = {len(found[0x89]), len(found[0x8A])}
    need(sizes == {40} if how["method"] == 1 else len(sizes) == 1 and 256 <= min(sizes) <= 1024, "length")
    word = text(found[0x8B]) if 0x8B in found else None
    if word is not None:
        need(how["method"] == 1, "tlv_unknown")
        need(len(word) == 26 and set(word) <= set(CROCKFORD), "secret")
    pin = found.get(0x8C)
    need(pin is None or len(pin) == 32, "length")
    values = {
        "issuer": text(found[0x81]),
        "application": text(found[0x82]),
        "user": text(found[0x83]),
        "keyset": text(found[0x84]),
        "url": url,
        "valid_until": until,
        "policy": found[0xA7].hex(),
        "secret": word,
        "door_pin": None if pin is None else pin.hex(),
        "digest": hashlib.sha256(data.replace(tlv(0x8B, found.get(0x8B, b"")), b"")).hexdigest(),
        "package": data.hex(),
    }
    return values | how | _keys(case, how, found, private)


def _keys(case: Case, how: Case, found: dict[int, bytes], private: dict[str, str]) -> Case:
    wrapped = {"khmac": found[0x89], "kauth": found[0x8A]}
    if how["method"] == 2:
        return {name: crypto.unwrap_rsa(private, how["hash"], block).hex() for name, block in wrapped.items()}
    word = found[0x8B].decode() if 0x8B in found else case["opened_by"]
    key = crypto.kek(word, bytes.fromhex(how["salt"]), how["iterations"])
    return {"opened_by": word} | {name: crypto.unwrap(key, block).hex() for name, block in wrapped.items()}


def offline(case: Case) -> Case:
    """A transaction for a phone without a network."""
    data = _from_qr(case, "offline", "PT1:")
    found = read_tlv(data, (0x80, 0x81, 0x82, 0x83, 0x85, 0x86, 0x87, 0x88), (0x84, 0x89))
    need(found[0x80] == b"\1", "version")
    need(0x89 not in found or found[0x89] == b"\3", "out_of_range")
    need(len(found[0x86]) <= 1500, "too_long")
    digits, expires = number(found[0x87], 1), number(found[0x88], 8)
    need(6 <= digits <= 10, "digits")
    return {
        "application": text(found[0x81]),
        "user": text(found[0x82]),
        "transaction": text(found[0x83]),
        "title": text(found[0x84], 256) if 0x84 in found else None,
        "media_type": text(found[0x85], 255),
        "content": found[0x86].hex(),
        "digits": digits,
        "expires": expires,
        "operation": 3 if 0x89 in found else 1,
        "offline": data.hex(),
    }


def new_code(case: Case) -> Case:
    """Random bytes as symbols."""
    bits = "".join(f"{byte:08b}" for byte in bytes.fromhex(case["random"]))
    bits += "0" * (-len(bits) % 5)
    code = "".join(CROCKFORD[int(bits[at : at + 5], 2)] for at in range(0, len(bits), 5))
    return {"code": code, "grouped": "-".join(code[at : at + 4] for at in range(0, len(code), 4))}


def normalise(case: Case) -> Case:
    """A code as people type it."""
    typed = case["text"]
    need(typed.isascii(), "secret")
    code = re.sub("[ -]", "", typed).upper().replace("O", "0").replace("I", "1").replace("L", "1")
    need(code and set(code) <= set(CROCKFORD), "secret")
    return {"code": code}
