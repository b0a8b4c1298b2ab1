"""Which token, which module and which PIN file does a PKCS#11 URI (RFC 7512) name?

Only the attributes this package acts on are understood; everything else is refused, so that a typing error
never silently selects another token. A PIN inside the URI is refused: URIs end in logs and process lists.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from hsm.errors import InvalidUri

_PATH = {"token": "token", "serial": "serial", "object": "object", "type": "type", "id": "id"}
_QUERY = {"module-path": "module_path", "pin-source": "pin_source"}
_FORM = "Write pkcs11:token=LABEL?module-path=/path/module.so&pin-source=file:/path/pin."


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUri:
    """The parts of a URI, percent-decoded; `id` is raw bytes, all others are text."""

    token: str | None = None
    serial: str | None = None
    object: str | None = None
    type: str | None = None
    id: bytes | None = None
    module_path: str | None = None
    pin_source: str | None = None

    @classmethod
    def parse(cls, uri: str) -> TokenUri:
        """Read `uri`. Raises InvalidUri; the text of the error never repeats the URI."""
        scheme, colon, rest = uri.partition(":")
        if scheme.lower() != "pkcs11" or not colon:
            raise InvalidUri("The URI does not begin with pkcs11:.", _FORM)
        path, _, query = rest.partition("?")
        fields: dict[str, str | bytes] = {}
        _collect(fields, path, ";", _PATH)
        _collect(fields, query, "&", _QUERY)
        return cls(**fields)  # type: ignore[arg-type]  # the names were checked, the types follow from them

    def format(self) -> str:
        """Write the URI again, in one canonical order."""
        path = [
            f"{name}={_encode(getattr(self, field))}" for name, field in _PATH.items() if self._has(field)
        ]
        query = [
            f"{name}={_encode(getattr(self, field))}" for name, field in _QUERY.items() if self._has(field)
        ]
        return "pkcs11:" + ";".join(path) + ("?" + "&".join(query) if query else "")

    def _has(self, field: str) -> bool:
        return getattr(self, field) is not None


def _collect(fields: dict[str, str | bytes], part: str, separator: str, names: dict[str, str]) -> None:
    for pair in filter(None, part.split(separator)):
        name, equals, value = pair.partition("=")
        if name == "pin-value":
            raise InvalidUri(
                "The URI holds a PIN.", "Put the PIN into a file and name it with pin-source=file:."
            )
        if name not in names or not equals:
            raise InvalidUri(f"The URI has an attribute {name[:40]!r} that is not understood.", _FORM)
        if names[name] in fields:
            raise InvalidUri(f"The URI says {name} twice.", _FORM)
        fields[names[name]] = _decode(name, value)


def _decode(name: str, value: str) -> str | bytes:
    raw = unquote_to_bytes(value)
    if name == "id":
        return raw
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidUri(f"The attribute {name} of the URI is not UTF-8.", _FORM) from None


def _encode(value: str | bytes) -> str:
    if isinstance(value, bytes):  # RFC 7512: all bytes of an id are percent-encoded
        return "".join(f"%{byte:02X}" for byte in value)
    return quote(value, safe=":/-._~")
