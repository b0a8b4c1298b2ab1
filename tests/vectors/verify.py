"""Do the published vectors hold under a second reading of the reference? `python -m tests.vectors.verify`.

Imports neither the gateway nor its device layer. Each kind of case has one function that derives everything
in the case from as little of it as possible; a case holds if nothing in it differs from what was derived. A
case that must be refused holds if it is refused for the reason it names.
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.keywrap import InvalidUnwrap

from tests.vectors.reading import crypto, door, records, reports, strict_json
from tests.vectors.reading.octets import (
    FOR_URLS,
    Refused,
    base45,
    base64,
    moment,
    read_tlv,
    to_base45,
    to_base64,
)

Case = dict[str, Any]
FOLDER = Path(__file__).resolve().parent


def _tlv(case: Case) -> Case:
    required, optional, empty = (
        [int(tag, 16) for tag in case[n]] for n in ("required", "optional", "may_be_empty")
    )
    found = read_tlv(bytes.fromhex(case["data"]), required, optional, empty)
    return {"parts": {f"{tag:02X}": value.hex() for tag, value in found.items()}}


def _base64(case: Case) -> Case:
    data = base64(case["text"])
    return {"data": data.hex(), "text": to_base64(data)}


def _base64url(case: Case) -> Case:
    data = base64(case["text"], alphabet=FOR_URLS)
    return {"data": data.hex(), "text": to_base64(data, alphabet=FOR_URLS)}


def _base45(case: Case) -> Case:
    data = base45(case["text"])
    return {"data": data.hex(), "text": to_base45(data)}


def _step(case: Case) -> Case:
    step = case["unix"] // case["step_seconds"]
    return {"step": step, "first": max(step - case["back"], 0), "last": step + case["ahead"]}


def _signature(case: Case) -> Case:
    return {"raw": crypto.raw_signature(bytes.fromhex(case["der"])).hex()}


def _spki(case: Case) -> Case:
    point = crypto.point(bytes.fromhex(case["spki"]))
    return {"point": point.hex(), "thumbprint": crypto.thumbprint(point)}


def _rsa(case: Case) -> Case:
    modulus, exponent = crypto.rsa_numbers(bytes.fromhex(case["spki"]), case["least_bits"])
    return {"modulus": f"{modulus:x}", "exponent": exponent}


def _kek(case: Case) -> Case:
    return {"kek": crypto.kek(case["secret"], bytes.fromhex(case["salt"]), case["iterations"]).hex()}


def _policy(case: Case) -> Case:
    return records.policy_fields(bytes.fromhex(case["policy"]))


def _message(case: Case) -> Case:
    return records.message(case) if case["valid"] else records.message_fields(bytes.fromhex(case["message"]))


def _body(case: Case) -> Case:
    door.check_body(case["action"], case["body"])
    return {}


READERS: dict[str, Callable[[Case], Case]] = {
    "tlv": _tlv,
    "base64": _base64,
    "base64url": _base64url,
    "base45": _base45,
    "time": lambda case: {"unix": moment(case["text"])},
    "step": _step,
    "message": _message,
    "truncate": lambda case: {"short_code": crypto.short_code(bytes.fromhex(case["mac"]), case["digits"])},
    "signature": _signature,
    "spki": _spki,
    "rsa_spki": _rsa,
    "request": door.request,
    "json": lambda case: {"value": strict_json.read(case["raw"].encode())},
    "header": door.header,
    "body": _body,
    "answer": door.answer,
    "policy": _policy,
    "new_code": records.new_code,
    "normalise": records.normalise,
    "kek": _kek,
    "offline": records.offline,
    "webhook_secret": reports.webhook_secret,
    "seal": reports.seal,
    "receipt": reports.receipt,
}


def fault_of(case: Case, document: Case) -> str | None:
    """What is wrong with a case, or None."""
    try:
        reader = READERS.get(case["kind"], lambda found: records.package(found, document["rsa"]))
        derived = reader(case)
    except Refused as error:
        if case["valid"]:
            return f"refused: {error.reason}"
        return None if error.reason == case["reason"] else f"refused: {error.reason}, not {case['reason']}"
    except (ValueError, KeyError, TypeError, OverflowError, InvalidUnwrap) as error:
        return f"{type(error).__name__}: {error}"
    if not case["valid"]:
        return "not refused"
    wrong = [name for name, value in derived.items() if case.get(name) != value]
    return f"differs in {', '.join(wrong)}" if wrong else None


def fault_of_openssl(case: Case) -> str | None:
    """What the openssl command says against a case, or None."""
    if not case["valid"]:
        return None
    if case["kind"] == "message":
        parts = (bytes.fromhex(case[name]) for name in ("kpublic", "message", "signature"))
        return None if crypto.openssl_agrees(*parts) else "openssl refuses the signature"
    if case["kind"] == "kek":
        found = crypto.openssl_kek(case["secret"], bytes.fromhex(case["salt"]), case["iterations"])
        return None if found.hex() == case["kek"] else "openssl derives another key"
    return None


def faults(folder: Path) -> Iterator[str]:
    """One line for each case that does not hold."""
    for path in sorted(folder.glob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        for case in document["cases"]:
            fault = fault_of(case, document) or fault_of_openssl(case)
            if fault:
                yield f"{path.name}: {case['kind']}: {case['name']}: {fault}"


def main() -> None:
    """Verify the vectors in the folder that is named, or the published ones."""
    found = list(faults(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER))
    sys.exit("\n".join(found) if found else 0)


if __name__ == "__main__":
    main()
