"""What might a request look like: examples for the OpenAPI document, each of which the door would read."""

from typing import Any

_TEXT = "text/plain; charset=utf-8"
_TRANSACTION = "txn_0192f0c1a2b37c4d8e5f60718293a4b6"
_CODE = "tURLMFeuqU/yRDFQXrXNCAAX4tgUUZU6k5m7qPikBoc="

# The name of a call, and for each example what it shows.
EXAMPLES: dict[str, dict[str, dict[str, Any]]] = {
    "createUser": {"a user": {}},
    "blockUser": {"with a reason": {"reason": "phone stolen"}},
    "unblockUser": {"unblock": {}},
    "putUserSettings": {
        "stricter than the policy": {"settings": {"password_length": 12, "forbid_biometrics": True}}
    },
    "issueKeyset": {
        "a QR code, and a code by another way": {"delivery": "qr_and_code"},
        "new keys for one device, no picture": {
            "delivery": "qr",
            "device": "dev_01a2021dbeb07f9ab42f1d92926f458a",
            "pictures": False,
        },
        "under a secret that the app shares already": {
            "delivery": "online",
            "secret": "pXr2ZkB7vQe9sLw4TfYc1A",
        },
    },
    "fetchActivationCode": {"fetch": {}},
    "createTransaction": {
        "text": {
            "user": "customer-1",
            "title": "Payment",
            "media_type": _TEXT,
            "text": "Pay 1,250.00 EUR to Jörg Example",
            "expires_in": 600,
        },
        "a document": {
            "user": "customer-1",
            "title": "Loan agreement",
            "media_type": "application/pdf",
            "content": "JVBERi0xLjcK",
            "callback": "https://loans.bank.example/countersign",
        },
        "content that was handed in before": {
            "user": "customer-1",
            "content_id": "cnt_0192f0c1a2b37c4d8e5f60718293a4b6",
        },
        "also without network, by eight digits": {
            "user": "customer-1",
            "media_type": _TEXT,
            "text": "Pay 20 EUR to Bob",
            "confirmation": {"offline": True, "digits": 8},
        },
        "a log-in": {
            "user": "customer-1",
            "kind": "authenticate",
            "media_type": _TEXT,
            "text": "Log in from a browser in Berlin?",
        },
    },
    "cancelTransaction": {"with a reason": {"reason": "the order was withdrawn"}},
    "submitCode": {"digits that the user read out": {"code": "41277233"}},
    "passAuthenticationOn": {
        "digits that the user typed": {"user": "customer-1", "rule": "code", "code": "41277233"},
        "full proofs that the phone gave": {
            "user": "customer-1",
            "media_type": _TEXT,
            "text": "Log in to Example Bank, customer-1, 2026-11-21T22:41:00Z",
            "step": 9973893,
            "code": _CODE,
        },
    },
    "verifySignature": {
        "an approval, with the content": {
            "transaction": _TRANSACTION,
            "text": "Pay 1,250.00 EUR to Jörg Example",
            "step": 9973893,
            "code": _CODE,
        },
        "digits": {"transaction": _TRANSACTION, "step": 9973893, "code": "41277233"},
    },
    "putPolicy": {"short codes and three devices": {"policy": {"offline_allowed": True, "devices_most": 3}}},
    "rotateWebhookSecret": {"make the next": {}},
}


def examples_of(call: str) -> dict[str, dict[str, Any]]:
    """Return the examples of a call as OpenAPI wants them, by a short key."""
    named = EXAMPLES.get(call, {})
    return {
        f"example{number}": {"summary": name, "value": value}
        for number, (name, value) in enumerate(named.items(), 1)
    }
