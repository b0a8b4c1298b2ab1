"""Which rules of the application travel to the phone, and in which bytes?

Source: docs/reference/wire.md, "The policy".
"""

from dataclasses import dataclass
from enum import IntFlag

from gateway.wire import tlv
from gateway.wire.code import DEFAULT_DIGITS, LEAST_DIGITS, MOST_DIGITS
from gateway.wire.errors import WireError
from gateway.wire.timestep import DEFAULT_STEP_SECONDS

LEAST_PASSWORD_LENGTH = 6
MOST_PASSWORD_LENGTH = 64
_TAGS = range(0x80, 0x86)
_SIZES = (2, 1, 1, 2, 1, 2)
_NAMES = ("flags", "password_length", "password_classes", "step_seconds", "digits", "device_fields")


class Flags(IntFlag):
    """What the phone must do, each with a bit of its own."""

    BIND_TO_DEVICE = 0x0001
    COLLECT_EVENTS = 0x0002
    COLLECT_DEVICE_DATA = 0x0004
    FORBID_BIOMETRICS = 0x0008
    KPUBLIC_REQUIRED = 0x0010


class PasswordClasses(IntFlag):
    """Which kinds of characters a password must contain."""

    LOWER = 1
    UPPER = 2
    DIGIT = 4
    OTHER = 8


class DeviceFields(IntFlag):
    """Which members of `device` the phone fills in; it ignores bits that have no name yet."""

    MODEL = 0x0001
    OS = 0x0002
    APP_VERSION = 0x0004
    LOCALE = 0x0008
    TIME_ZONE = 0x0010
    SCREEN_LOCK = 0x0020
    ROOTED = 0x0040
    NETWORK = 0x0080
    LATITUDE = 0x0100
    LONGITUDE = 0x0200

    def names(self) -> tuple[str, ...]:
        """Return the names of the members in JSON, e.g. `app_version`."""
        return tuple(str(field.name).lower() for field in DeviceFields if field in self)


_NO_FLAGS, _NO_CLASSES, _NO_FIELDS = Flags(0), PasswordClasses(0), DeviceFields(0)
_KNOWN = {
    "flags": int(sum(Flags)),
    "password_classes": int(sum(PasswordClasses)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagePolicy:
    """The policy in a package and in answers. `digits` 0 means: no short code for data that stands alone.

    Raises WireError `out_of_range`, `unknown_bit` or `digits`.
    """

    flags: Flags = _NO_FLAGS
    password_length: int = LEAST_PASSWORD_LENGTH
    password_classes: PasswordClasses = _NO_CLASSES
    step_seconds: int = DEFAULT_STEP_SECONDS
    digits: int = DEFAULT_DIGITS
    device_fields: DeviceFields = _NO_FIELDS

    def __post_init__(self) -> None:
        for name, known in _KNOWN.items():
            if getattr(self, name) & ~known:
                raise WireError("unknown_bit", name)
        if not LEAST_PASSWORD_LENGTH <= self.password_length <= MOST_PASSWORD_LENGTH:
            raise WireError("out_of_range", "password_length")
        if self.step_seconds < 1:
            raise WireError("out_of_range", "step_seconds")
        if self.digits and not LEAST_DIGITS <= self.digits <= MOST_DIGITS:
            raise WireError("digits", "digits")

    def encode(self) -> bytes:
        """Return the TLV inside tag A7. Raises WireError `out_of_range`."""
        fields = zip(_TAGS, _NAMES, _SIZES, strict=True)
        return tlv.sequence(
            (tag, tlv.number(getattr(self, name), size, what=name)) for tag, name, size in fields
        )

    @classmethod
    def decode(cls, data: bytes) -> "PackagePolicy":
        """Return the one policy whose encoding is `data`. Raises WireError."""
        found = tlv.decode(data, required=_TAGS)
        fields = zip(_TAGS, _NAMES, _SIZES, strict=True)
        values = {name: tlv.read_number(found[tag], size, what=name) for tag, name, size in fields}
        return cls(
            flags=Flags(values["flags"]),
            password_length=values["password_length"],
            password_classes=PasswordClasses(values["password_classes"]),
            step_seconds=values["step_seconds"],
            digits=values["digits"],
            device_fields=DeviceFields(values["device_fields"]),
        )
