"""Vectors of what the application gets: sealed callbacks and receipts."""

from collections.abc import Iterator
from dataclasses import replace

from gateway.wire import callback, receipt, spki
from gateway.wire.message import Message, Operation
from gateway.wire.receipt import ReceiptClaims
from tests.vectors.writing import material
from tests.vectors.writing.case import Case, refused, valid

WEBHOOK_KEY = bytes(range(0x40, 0x60))


def callback_cases() -> Iterator[Case]:
    """The secret of an application, and the seal under it."""
    secrets = {}
    for version in (1, 2, 2**32 - 1):
        data = callback.secret_input(material.APPLICATION, version)
        secrets[version] = material.mac(WEBHOOK_KEY, data)
        yield valid(
            "webhook_secret",
            f"version {version}",
            webhook_key=WEBHOOK_KEY.hex(),
            application=material.APPLICATION,
            version=version,
            input=data.hex(),
            secret=callback.format_secret(secrets[version]),
        )
    body = '{"type":"transaction.confirmed","sequence":1,"data":{"title":"Grüße"}}'
    for name, used in (("one secret", [1]), ("two secrets while they change", [2, 1])):
        sealed = callback.headers(
            "msg_0192f0c1", material.NOW, body.encode(), [secrets[number] for number in used]
        )
        shown = [callback.format_secret(secrets[number]) for number in used]
        yield valid("seal", name, secrets=shown, body=body, headers=sealed)
    yield from _refused_callbacks()


def _refused_callbacks() -> Iterator[Case]:
    for name, message_id in (
        ("a dot in the id", "msg.1"),
        ("no id", ""),
        ("a line end in the id", "msg_1\n"),
    ):
        yield refused(
            "seal",
            name,
            "webhook_id",
            lambda m=message_id: callback.seal_input(m, 0, b""),
            webhook_id=message_id,
        )
    yield refused(
        "webhook_secret",
        "version 0",
        "out_of_range",
        lambda: callback.secret_input(material.APPLICATION, 0),
        application=material.APPLICATION,
        version=0,
    )


def _receipt(name: str, message: Message, claims: ReceiptClaims) -> Case:
    point = material.point_of(material.RECEIPT_KEY)
    kid = spki.jwk_thumbprint(point)
    data = receipt.signing_input(kid, claims)
    return valid(
        "receipt",
        name,
        jwk=receipt.jwk(point, kid, valid_from=material.NOW, valid_until=material.UNTIL),
        message=message.encode().hex(),
        claims=claims.as_json(),
        receipt=receipt.compact(data, material.sign_raw(material.RECEIPT_KEY, data)),
    )


def receipt_cases() -> Iterator[Case]:
    """Receipts with everything, and with what a confirmation by short code has."""
    message = material.message()
    code = material.mac(material.KHMAC, message.encode())
    full = ReceiptClaims(
        issuer=material.URL,
        issued_at=material.NOW,
        id="rcp_0192f0c1",
        keyset=material.KEYSET,
        message=message,
        code=code,
        signature=material.sign(material.KPRIVATE, message.digest()),
        kpublic=spki.jwk_thumbprint(material.point_of(material.KPRIVATE)),
        verified=("step", "code", "signature"),
    )
    yield _receipt("code and signature", message, full)
    short = ReceiptClaims(
        issuer=material.URL,
        issued_at=material.NOW,
        id="rcp_0192f0c2",
        keyset=material.KEYSET,
        message=message,
        code="00112233",
        verified=("step", "code"),
    )
    yield _receipt("a short code", message, short)
    yield _receipt("a scored answer", message, replace(full, id="rcp_0192f0c3", scoring=(450, "medium")))
    alone = material.message(operation=Operation.AUTHENTICATE, transaction=None, title=None)
    code = material.mac(material.KHMAC, alone.encode())
    standing = replace(full, id="aut_0192f0c1", message=alone, code=code, under=("login", "online"))
    standing = replace(standing, signature=material.sign(material.KPRIVATE, alone.digest()))
    yield _receipt("content that stands alone", alone, standing)
