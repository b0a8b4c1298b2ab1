"""What does the package of a new keyset hold: keys wrapped in the HSM, and all a phone must know beside them.

The wrapping secret and the key made of it live for one enrolment and are stored nowhere.
"""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from gateway.refusals import Refusal
from gateway.rules.keyset import Delivery
from gateway.rules.policy import Policy
from gateway.rules.secret_strength import is_strong
from gateway.scenarios import keynames
from gateway.scenarios.context import Context
from gateway.wire import secret as secrets_wire
from gateway.wire.house_inputs import activation_input
from gateway.wire.package import Package
from gateway.wire.policy import DeviceFields, Flags, PackagePolicy, PasswordClasses
from gateway.wire.wrapping import OAEP_HASHES, OaepHash, RsaWrapping, SecretWrapping
from hsm.desk import Desk
from hsm.keys import DerivedRef, KeyRef
from hsm.rsawrap import RsaCover

LABEL = "countersign-user-hmac"
_CODE_BYTES = 10
_PACKAGE_SECRET_BYTES = 16
_HASH_NAMES = {each: name for name, each in OAEP_HASHES.items()}


@dataclass(frozen=True, slots=True)
class Sealing:
    """The RSA key of a phone to which keys are sealed, and the hashes that it accepts, in the order it likes them."""

    modulus: int
    exponent: int
    hashes: tuple[OaepHash, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is about to be made: everything that is fixed before the device is asked."""

    application_id: str
    user_id: str
    keyset_id: str
    device_id: str
    is_new_device: bool = False
    delivery: Delivery
    khmac: str
    kauth: str
    salt: bytes
    given_secret: str | None = None
    sealing: Sealing | None = None
    renews: str | None = None
    policy: Policy  # as it is for the user
    policy_version: int
    now: datetime

    @property
    def stored(self) -> list[str]:
        """The names of the keys that become objects on the token."""
        return keynames.on_token([self.khmac, self.kauth])

    @property
    def needs_code(self) -> bool:
        """Whether it is opened with an activation code."""
        return self.delivery is Delivery.QR_AND_CODE

    @property
    def has_weak_secret(self) -> bool:
        """Whether the secret is one that people choose, and that can be searched for offline."""
        return self.given_secret is not None and not is_strong(self.given_secret)


def activation_codes(ctx: Context, plans: Sequence[Plan]) -> list[str | None]:
    """Return the activation code of each that is delivered with one, all of them in one turn at the device."""
    if not any(each.needs_code for each in plans):
        return [None] * len(plans)

    def compute(desk: Desk) -> list[str | None]:
        at = ctx.at(desk)
        return [
            activation_code(at, each.application_id, each.keyset_id, each.salt) if each.needs_code else None
            for each in plans
        ]

    return ctx.device.together(compute)


def wrapping_key(plan: Plan, secret: str) -> bytes:
    """Return what the keys are wrapped under: milliseconds of computing, in which other threads can run."""
    return secrets_wire.kek(secret, plan.salt, _iterations(plan), pbkdf2)


def _iterations(plan: Plan) -> int:
    return secrets_wire.CHOSEN_ITERATIONS if plan.has_weak_secret else secrets_wire.RANDOM_ITERATIONS


def make_package(ctx: Context, plan: Plan, coming: Future[bytes] | None = None) -> Package:
    """Let the HSM make, wrap and keep the keys, and pack them. Talks to the device.

    `coming` is the wrapping key of an activation code, if it is being computed already.

    Raises:
        Refusal: ``not_allowed_by_policy``: the token knows none of the hashes that the phone accepts.
        hsm.errors.DeviceError: the token refuses or is away.
    """
    if plan.sealing is not None:
        return _sealed_package(ctx, plan, plan.sealing)
    wrapping = SecretWrapping(salt=plan.salt, iterations=_iterations(plan))
    if coming is not None:
        return _package(ctx, plan, wrapping, _issue(ctx, plan, coming.result()))
    secret = _wrapping_secret(ctx, plan)
    keys = _issue(ctx, plan, wrapping_key(plan, secret))
    return _package(ctx, plan, wrapping, keys, secret if plan.delivery is Delivery.QR else None)


def pbkdf2(password: bytes, salt: bytes, iterations: int) -> bytes:
    """Return what a package is wrapped under, 32 bytes: in half the time of the OpenSSL that Python may have."""
    return PBKDF2HMAC(SHA256(), secrets_wire.KEK_BYTES, salt, iterations).derive(password)


def _sealed_package(ctx: Context, plan: Plan, sealing: Sealing) -> Package:
    usable = ctx.device.usable_hashes(sealing.modulus, sealing.exponent)
    chosen = next((each for each in sealing.hashes if _HASH_NAMES[each] in usable), None)
    if chosen is None:
        detail = f"The token wraps keys with {', '.join(sorted(usable)) or 'no hash'} alone, which is not accepted."
        raise Refusal("not_allowed_by_policy", "no common hash", detail=detail)
    cover = RsaCover(sealing.modulus, sealing.exponent, _HASH_NAMES[chosen])
    return _package(ctx, plan, RsaWrapping(chosen), _issue(ctx, plan, cover))


def _package(
    ctx: Context,
    plan: Plan,
    wrapping: SecretWrapping | RsaWrapping,
    keys: list[bytes],
    secret: str | None = None,
) -> Package:
    khmac, kauth = keys
    return Package(
        issuer=ctx.issuer,
        application=plan.application_id,
        user=plan.user_id,
        keyset=plan.keyset_id,
        url=ctx.client_url,
        valid_until=plan.now + timedelta(days=plan.policy.validity_days),
        policy=package_policy(plan.policy, plan.policy.step_seconds, plan.policy.digits),
        wrapping=wrapping,
        khmac=khmac,
        kauth=kauth,
        secret=secret,
        door_pin=ctx.door_pin,
    )


def _issue(ctx: Context, plan: Plan, cover: bytes | RsaCover) -> list[bytes]:
    """Return Khmac and Kauth, wrapped: made on the token, or derived for as long as it takes."""
    refs = [
        keynames.secret_ref(name, purpose, plan.application_id, plan.user_id, plan.keyset_id)
        for purpose, name in (("khmac", plan.khmac), ("kauth", plan.kauth))
    ]
    derived = [ref for ref in refs if isinstance(ref, DerivedRef)]
    if derived:
        return ctx.device.issue_derived(cover, derived)
    return ctx.device.issue(cover, [ref.id for ref in refs if isinstance(ref, KeyRef)], LABEL)


def _wrapping_secret(ctx: Context, plan: Plan) -> str:
    if plan.delivery is Delivery.QR:
        return secrets_wire.new_package_secret(ctx.device.random(_PACKAGE_SECRET_BYTES))
    if plan.delivery is Delivery.QR_AND_CODE:
        return activation_code(ctx, plan.application_id, plan.keyset_id, plan.salt)
    assert plan.given_secret is not None
    return plan.given_secret


def activation_code(ctx: Context, application_id: str, keyset_id: str, salt: bytes) -> str:
    """Return the code of 16 symbols: computed in the HSM whenever it is needed, so it is stored nowhere."""
    mac = ctx.device.mac(ctx.keys.activation, activation_input(application_id, keyset_id, salt))
    return secrets_wire.new_code(mac[:_CODE_BYTES])


def package_policy(policy: Policy, step_seconds: int, digits: int) -> PackagePolicy:
    """Return what a phone is told of the policy; step length and digits are the keyset's, fixed when it was issued."""
    return PackagePolicy(
        flags=Flags(int(policy.flags)),
        password_length=policy.password_length,
        password_classes=PasswordClasses(policy.password_classes),
        step_seconds=step_seconds,
        digits=digits,
        device_fields=DeviceFields(policy.device_fields),
    )
