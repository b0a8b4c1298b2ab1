"""What is a caller told of a value that is not acceptable: where it stands, and what is wanted there?"""

from pydantic import ValidationError

from gateway.wire.errors import WireError

_MOST = 20
_OWN = "Value error, "  # what pydantic puts before the words of our own checks
_UNKNOWN = "extra_forbidden"
# The reasons of the wire format that a request can be refused for; its reference page has them all.
WANTED = {
    "action": "It is not the action of the path.",
    "authcode_count": "Exactly one such header is needed.",
    "base64": "It is base64 of RFC 4648 section 4: with padding, with + and / and not - and _, in one line.",
    "base64url": "It is base64url of RFC 4648 section 5: without padding, with - and _ and not + and /.",
    "depth": "Objects and lists nest at most eight deep.",
    "der": "A signature is the DER of SEQUENCE { INTEGER r, INTEGER s }, not r and s side by side.",
    "device": "Device data are flat: texts, numbers, true or false.",
    "digits": "It is not as many digits as there may be.",
    "duplicate": "A name stands twice in one object.",
    "empty": "It is empty.",
    "json": "The body is not JSON as in RFC 8259, in UTF-8: double quotes, no comments, nothing after the object.",
    "length": "It has not the exact number of bytes.",
    "media_type": "It is not the media type that belongs here.",
    "missing": "It is not there.",
    "not_object": "The body is one JSON object: its first byte is {.",
    "not_text": "It is not text in UTF-8 without U+0000 and lone surrogates.",
    "number": "A number is too large, or none.",
    "out_of_range": "The number is out of bounds.",
    "point": "The point is not on the curve P-256.",
    "rsa_size": "The modulus or the exponent of the RSA key is out of bounds.",
    "signature_range": "r or s is not between 1 and the order of the curve.",
    "spki": "It is not a SubjectPublicKeyInfo in DER (not PEM) of the kind of key that belongs here.",
    "time": "A time is YYYY-MM-DDTHH:MM:SSZ: UTC, no fractions.",
    "too_long": "It has more bytes than there may be.",
    "type": "It is of another JSON type than it must be; what is optional is left out, not null.",
    "unknown": "There is a member that does not belong here.",
}


def of_wire(error: WireError) -> str:
    """Return the sentence for bytes outside the wire format; never one of the bytes."""
    wanted = WANTED.get(error.reason)
    return f"Not acceptable: {error}." + (f" {wanted}" if wanted else "")


def of_body(error: ValidationError) -> tuple[dict[str, str], ...]:
    """Return the members of a body that do not fit, each as a JSON pointer (RFC 6901) and a sentence."""
    faults = error.errors(include_url=False, include_input=False, include_context=False)[:_MOST]
    return tuple(
        {
            "pointer": "".join(f"/{part}" for part in fault["loc"]),
            "detail": "unknown member" if fault["type"] == _UNKNOWN else fault["msg"].removeprefix(_OWN),
        }
        for fault in faults
    )
