"""Is a callback sealed, and does a receipt hold?"""

import json
import re
from typing import Any

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from tests.vectors.reading import crypto
from tests.vectors.reading.octets import FOR_URLS, base64, need, tlv, to_base64
from tests.vectors.reading.records import message_fields

Case = dict[str, Any]
OPERATIONS = {1: "approve", 2: "decline", 3: "authenticate"}
P256_HEAD = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")


def webhook_secret(case: Case) -> Case:
    """The secret of an application."""
    need(1 <= case["version"] < 2**32, "out_of_range")
    data = tlv(0x80, case["application"].encode()) + tlv(0x81, case["version"].to_bytes(4, "big"))
    secret = crypto.mac(bytes.fromhex(case["webhook_key"]), data)
    return {"input": data.hex(), "secret": "whsec_" + to_base64(secret)}


def seal(case: Case) -> Case:
    """The headers of a callback."""
    message_id = case["headers"]["webhook-id"] if "headers" in case else case["webhook_id"]
    need(re.fullmatch("[A-Za-z0-9_-]{1,64}", message_id), "webhook_id")
    stamp = case["headers"]["webhook-timestamp"]
    sealed = f"{message_id}.{stamp}.{case['body']}".encode()
    seals = [crypto.mac(base64(secret.removeprefix("whsec_")), sealed) for secret in case["secrets"]]
    written = " ".join(f"v1,{to_base64(found)}" for found in seals)
    return {"headers": {"webhook-id": message_id, "webhook-timestamp": stamp, "webhook-signature": written}}


def receipt(case: Case) -> Case:
    """A compact JWS and what it claims."""
    head, claims, signature = case["receipt"].split(".")
    x, y = (base64(case["jwk"][name], alphabet=FOR_URLS) for name in ("x", "y"))
    kid = crypto.thumbprint(b"\4" + x + y)
    expected = {"alg": "ES256", "typ": "pc-receipt+jwt", "kid": kid}
    need(json.loads(base64(head, alphabet=FOR_URLS)) == expected, "header")
    raw = base64(signature, alphabet=FOR_URLS)
    need(len(raw) == 64, "length")
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    crypto.verify(P256_HEAD + x + y, f"{head}.{claims}".encode(), der)
    found = json.loads(base64(claims, alphabet=FOR_URLS))
    data = base64(found["message"], alphabet=FOR_URLS)
    _check_claims(found, message_fields(data))
    constant = {"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256"}
    return {"claims": found, "message": data.hex(), "jwk": case["jwk"] | constant | {"kid": kid}}


def _check_claims(claims: Case, message: Case) -> None:
    """What is claimed beside the message must be what the message says."""
    for name in ("application", "user", "transaction", "step"):
        need(claims.get(name) == message.get(name), "claims")
    need(claims["operation"] == OPERATIONS[message["operation"]], "claims")
    need(base64(claims["content_sha256"]).hex() == message["content_sha256"], "claims")
    need(("signature" in claims) == ("kpublic" in claims) == ("signature" in claims["verified"]), "claims")
