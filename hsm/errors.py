"""What can go wrong with the device, said so that the caller knows what to do next.

Every text here is safe to log: it never holds a PIN, a key or the value of an attribute.
How the module's own return codes become these errors is `hsm/faults.py`'s question.
"""

from __future__ import annotations


class DeviceError(Exception):
    """Base of everything this package raises on purpose."""


class DeviceUnavailable(DeviceError):
    """An outage: the device is lost, busy or logged out. The same call may succeed later."""

    def __init__(self, text: str, *, retry_after_seconds: int = 1) -> None:
        super().__init__(text)
        self.retry_after_seconds = retry_after_seconds


class LoginInterrupted(DeviceUnavailable):
    """The device went away while it was asked for the login; nobody knows whether it saw the PIN."""


class KeyElsewhere(DeviceUnavailable):
    """The tokens that answer do not have the key, and one that may have it is away: nobody knows it to be missing."""


class DeviceRefused(DeviceError):
    """The input was refused, by us or by the module, while the device itself is well. Never retry it."""


class KeyProtected(DeviceRefused):
    """The key is not one of a user's; the gateway's own keys are never destroyed."""


class DeliveryRefused(DeviceRefused):
    """The token cannot wrap keys: no key is delivered, while all else works."""


class KeyMissing(DeviceError):
    """The key is not on the token. Raised only after the login was proved to be alive."""


class DuplicateKey(DeviceError):
    """Two objects answer to one name: somebody tampered with the token, or a backup was merged into it."""


class StartupError(DeviceError):
    """The device cannot be used at all; `mend` says what the operator can do about it."""

    def __init__(self, text: str, mend: str) -> None:
        super().__init__(f"{text} {mend}")
        self.mend = mend


class InvalidUri(StartupError):
    """A PKCS#11 URI cannot be read, or says something it must not say."""


class ModuleUnusable(StartupError):
    """The module file cannot be loaded, or cannot be initialised for threads."""


class TokenMissing(StartupError):
    """The module shows no token, or more than one token, with the label of the URI."""


class PinUnreadable(StartupError):
    """The PIN file cannot be read or is empty. The token was not asked."""


class PinRejected(StartupError):
    """The token refused the PIN. It was tried once and is not tried again in this process."""


class LoginRefused(StartupError):
    """The token refused the login with an answer that may be about the PIN. A start presents it once."""


class MechanismMissing(StartupError):
    """The token lacks a mechanism without which nothing works."""


class SelfTestFailed(StartupError):
    """The token computed a known answer wrongly."""


class DeliveryUnsafe(StartupError):
    """No way was found to hand a key out once and keep a copy that can never be handed out again."""


class HouseKeyMissing(StartupError):
    """One of the gateway's own keys is not on the token."""


class HouseKeyAwaited(HouseKeyMissing):
    """A new version of one of the gateway's own keys was not seen on every token; nobody uses it until it is."""


class HouseKeyDoubled(StartupError):
    """One of the gateway's own keys is on the token more than once."""
