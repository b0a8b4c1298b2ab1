"""What does a phone do with its keys: enrol, show, approve, decline, renew?"""

import hashlib
import secrets
from dataclasses import replace
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.counterparts.phone_account import Account, Shown, wall_clock
from tests.counterparts.phone_keys import DEFAULT_ITERATIONS, Keys, PhoneStore, lock, unlock
from tests.counterparts.phone_line import Clock, NetworkFailure, NotRecognised, PhoneError, Refused
from tests.counterparts.phone_offline import OfflineTransaction
from tests.counterparts.phone_package import Flags, Package, normalise_code, read_package
from tests.counterparts.phone_requests import Requests
from tests.counterparts.phone_tlv import b64, unb64
from tests.counterparts.phone_wire import Operation, format_time, mac, truncate

SLOT, NEXT_SLOT = "account", "next"
KEY_MEDIA_TYPE = "application/spki"
PART_BYTES = 256 * 1024
WRAP_KEY_BITS = 3072
OAEP_NAMES = ("SHA-256", "SHA-384", "SHA-512", "SHA-1")


class Phone(Requests):
    """One user's phone."""

    def __init__(
        self,
        account: Account,
        keys: Keys,
        *,
        clock: Clock = wall_clock,
        store: PhoneStore | None = None,
        slot: str = SLOT,
    ) -> None:
        super().__init__(account, keys, clock=clock)
        self.store, self.slot = store, slot

    # Personalization

    @classmethod
    def enrol(
        cls,
        source: str | bytes,
        *,
        activation_code: str | None = None,
        secret: str | None = None,
        wrap_key: rsa.RSAPrivateKey | None = None,
        store: PhoneStore | None = None,
        password: str | None = None,
        ca_pem: str | None = None,
        clock: Clock = wall_clock,
        iterations: int = DEFAULT_ITERATIONS,
    ) -> "Phone":
        """A phone from QR text, a QR image, base64 or TLV. Without a store the keys stay in memory only.

        `activation_code` is typed by people and normalised; `secret` is taken exactly as given.
        """
        package = Package.decode(read_package(source))
        word = normalise_code(activation_code) if activation_code is not None else secret
        account, keys = _personalise(package, word, wrap_key, ca_pem, clock())
        phone = cls(account, keys, clock=clock, store=store)
        if store is not None:
            if password is None or (fault := account.policy.password_fault(password)):
                phone.close()
                raise PhoneError(f"the password is not good enough: {fault if password else 'it is missing'}")
            store.save(SLOT, account.to_json(), lock(keys, password, iterations=iterations))
        return phone

    @classmethod
    def open(
        cls,
        store: PhoneStore,
        password: str,
        *,
        clock: Clock = wall_clock,
        slot: str = SLOT,
        ca_pem: str | None = None,
    ) -> "Phone":
        """The stored phone. A wrong password opens it too, with keys the gateway will not recognise."""
        record, locked = store.load(slot)
        account = Account.from_json(record)
        if ca_pem is not None:
            account = replace(account, ca_pem=ca_pem)
        return cls(account, unlock(locked, password), clock=clock, store=store, slot=slot)

    def register(self, *, push: dict[str, str] | None = None) -> dict[str, Any]:
        """Register Kpublic and the fingerprint; may be repeated until a proved answer has come."""
        answer = self.call("keys.register", lambda: self.registration_body(push=push))
        self._expect(answer, "keyset", self.account.keyset)
        self.account = replace(
            self.account, registered=True, package_digest=None, valid_until=str(answer["valid_until"])
        )
        if self.store is not None:
            _, locked = self.store.load(self.slot)
            self.store.save(self.slot, self.account.to_json(), locked)
        return answer

    def registration_body(self, *, push: dict[str, str] | None = None) -> dict[str, Any]:
        """The body of keys.register."""
        if self.account.package_digest is None:
            raise PhoneError("this phone is registered already")
        spki = self.public_spki()
        message = self.message(Operation.REGISTER_KEY, KEY_MEDIA_TYPE, hashlib.sha256(spki).digest())
        body: dict[str, Any] = {
            "kpublic": b64(spki),
            "fingerprint": b64(self.account.fingerprint),
            "package": b64(self.account.package_digest),
            **self.proofs(message, with_signature=True),
        }
        return body if push is None else {**body, "push": push}

    def renew(self, password: str | None = None, *, iterations: int = DEFAULT_ITERATIONS) -> None:
        """Fetch new keys under the old ones and register them; the old ones go after a proved answer."""
        wrap_key = rsa.generate_private_key(public_exponent=65537, key_size=WRAP_KEY_BITS)
        answer = self.call("keys.renew", lambda: self.renewal_body(wrap_key))
        package = Package.decode(unb64(answer["package"]))
        account, keys = _personalise(package, None, wrap_key, self.account.ca_pem, self.clock(), self.account)
        if self.store is not None:
            if password is None:
                raise PhoneError("the new keys need the password to be stored")
            self.store.save(NEXT_SLOT, account.to_json(), lock(keys, password, iterations=iterations))
        successor = Phone(account, keys, clock=self.clock, store=self.store, slot=NEXT_SLOT)
        successor.offset = self.offset
        self._succeed(successor)

    def resume_renewal(self, password: str) -> bool:
        """Finish a renewal whose last answer was lost; False if there is none that can be finished."""
        if self.store is None or not self.store.exists(NEXT_SLOT):
            return False
        successor = Phone.open(
            self.store, password, clock=self.clock, slot=NEXT_SLOT, ca_pem=self.account.ca_pem
        )
        try:
            self._succeed(successor)
        except (NotRecognised, Refused):
            # The new keys have lapsed, or the password is wrong. The old keys tell: only while they serve can
            # the new ones be given up.
            self.pending()
            self.store.drop(NEXT_SLOT)
            return False
        return True

    def renewal_body(self, wrap_key: rsa.RSAPrivateKey) -> dict[str, Any]:
        """The body of keys.renew."""
        spki = wrap_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        message = self.message(Operation.RENEW_KEYS, KEY_MEDIA_TYPE, hashlib.sha256(spki).digest())
        return {"wrap_key": b64(spki), "oaep": list(OAEP_NAMES), **self.proofs(message)}

    def _succeed(self, successor: "Phone") -> None:
        try:
            if not successor.account.registered:
                successor.register()
        except BaseException:
            successor.close()
            raise
        self.line.close()
        self.account, self.keys, self.line = successor.account, successor.keys, successor.line
        self.private_key = successor.private_key
        if self.store is not None:
            self.store.save(SLOT, *self.store.load(NEXT_SLOT))
            self.store.drop(NEXT_SLOT)

    # Transactions

    def pending(self, wait: int | None = None) -> list[dict[str, Any]]:
        """What waits for an answer."""
        body = {} if wait is None else {"wait": wait}
        found = self.call("transactions.pending", lambda: body)["transactions"]
        if not isinstance(found, list):
            raise NetworkFailure("the answer holds no list")
        return found

    def get(self, transaction: str) -> dict[str, Any]:
        """One transaction, without content."""
        found = self.call("transactions.get", lambda: {"transaction": transaction})
        self._expect(found, "transaction", transaction)
        return found

    def content(self, transaction: str, size: int, *, part_bytes: int = PART_BYTES) -> bytes:
        """The whole content, fetched in parts."""
        content = bytearray()
        while len(content) < size:
            length = min(part_bytes, size - len(content))
            part = self.part(transaction, len(content), length)
            if not 0 < len(part) <= length:
                raise NetworkFailure("a part of the content has a wrong length")
            content += part
        return bytes(content)

    def part(self, transaction: str, offset: int, length: int) -> bytes:
        """One part of the content."""
        body = {"transaction": transaction, "offset": offset, "length": length}
        return self.fetch("transactions.content", lambda: body).body

    def show(self, transaction: str, *, part_bytes: int = PART_BYTES) -> Shown:
        """Fetch a transaction with its content, ready to be shown and then answered."""
        found = self.get(transaction)
        content = self.content(transaction, found["size"], part_bytes=part_bytes)
        if b64(hashlib.sha256(content).digest()) != found["content_sha256"]:
            raise NetworkFailure("the content is not the one that was announced")
        return Shown(
            transaction=transaction,
            kind=found["kind"],
            title=found["title"],
            media_type=found["media_type"],
            content=content,
            digits=found["digits"],
            expires=found["expires"],
            offline=found["offline"],
        )

    def approve(self, shown: Shown) -> dict[str, Any]:
        """Approve what was shown; asking again after a lost answer is safe."""
        operation = Operation.AUTHENTICATE if shown.kind == "authenticate" else Operation.APPROVE
        return self.call("transactions.approve", lambda: self.confirmation_body(shown, operation))

    def decline(self, shown: Shown) -> dict[str, Any]:
        """Decline what was shown."""
        return self.call("transactions.decline", lambda: self.confirmation_body(shown, Operation.DECLINE))

    def confirmation_body(self, shown: Shown, operation: int, *, step: int | None = None) -> dict[str, Any]:
        """The body of approve and decline."""
        message = self.message_of(shown, operation, step=step)
        return {"transaction": shown.transaction, **self.proofs(message)}

    def short_code(self, shown: Shown | OfflineTransaction) -> str:
        """The digits with which the user approves through the application; needs no network."""
        if isinstance(shown, OfflineTransaction):
            shown = self.shown_offline(shown)
        operation = Operation.AUTHENTICATE if shown.kind == "authenticate" else Operation.APPROVE
        return truncate(mac(self.keys.khmac, self.message_of(shown, operation).encode()), shown.digits)

    def shown_offline(self, offline: OfflineTransaction) -> Shown:
        """A transaction from a QR code, if it is for this user and still open."""
        if (offline.application, offline.user) != (self.account.application, self.account.user):
            raise PhoneError("the transaction is for somebody else")
        if offline.expires <= self.now():
            raise PhoneError("the transaction has expired")
        return Shown(
            transaction=offline.transaction,
            kind=offline.kind,
            title=offline.title,
            media_type=offline.media_type,
            content=offline.content,
            digits=offline.digits,
            expires=format_time(offline.expires),
        )

    def authenticate(self, content: bytes, media_type: str = "text/plain; charset=utf-8") -> dict[str, Any]:
        """Authenticate the user with data the phone makes itself by a rule of the application."""
        digest = hashlib.sha256(content).digest()

        def body() -> dict[str, Any]:
            message = self.message(Operation.AUTHENTICATE, media_type, digest)
            return {"media_type": media_type, "content": b64(content), **self.proofs(message)}

        return self.call("authentications.create", body)

    def update_push(self, provider: str | None, identifier: str | None = None) -> dict[str, Any]:
        """Set the push address, or remove it with None."""
        push = None if provider is None else {"provider": provider, "identifier": identifier}
        return self.call("devices.update", lambda: {"push": push})


def _personalise(
    package: Package,
    secret: str | None,
    wrap_key: rsa.RSAPrivateKey | None,
    ca_pem: str | None,
    now: datetime,
    before: Account | None = None,
) -> tuple[Account, Keys]:
    """The account and its keys, not yet registered. A renewed keyset stays on the same device."""
    if package.valid_until <= now:
        raise PhoneError("the package has expired")
    if before and (package.application, package.user) != (before.application, before.user):
        raise NetworkFailure("the new keys are for somebody else")
    khmac, kauth = package.unwrap(secret, wrap_key)
    bound = Flags.BIND_TO_DEVICE in package.policy.flags
    fingerprint = before.fingerprint if before else secrets.token_bytes(32)
    account = Account(
        issuer=package.issuer,
        application=package.application,
        user=package.user,
        keyset=package.keyset,
        url=package.url,
        valid_until=format_time(package.valid_until),
        policy=package.policy,
        fingerprint=(fingerprint or secrets.token_bytes(32)) if bound else b"",
        door_pin=package.door_pin,
        ca_pem=ca_pem,
        package_digest=package.digest,
    )
    return account, Keys.fresh(khmac, kauth)
