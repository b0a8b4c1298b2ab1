"""How does a benchmark get a million users with real keys? It knows the secrets of a token that is thrown away.

The master and the binding key are put onto the token with values that this program keeps. So it computes what the HSM
would: the keys of derived users, and the MACs under their rows. A real gateway's keys are made in its HSM and known to
nobody.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass, replace
from typing import Self

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pkcs11 import Attribute

from gateway.ids import new_id
from gateway.rules.keyset import Keyset
from gateway.rules.user import UserStatus
from gateway.scenarios.bindings import binding_input
from gateway.wire.keyname import DerivedName, point_name
from hsm import templates
from hsm.derivation import master_label
from hsm.device import Device
from hsm.keys import ID_LENGTH
from tests.counterparts.phone import Phone
from tests.counterparts.phone_keys import Keys

_BINDING_LABEL = "countersign-binding-1"
_MASTER = 1
_LENGTH = 32


@dataclass(frozen=True, slots=True)
class KnownKeys:
    """Values of the first master and the first binding key."""

    master: bytes
    binding: bytes

    @classmethod
    def place(cls, token_uri: str) -> Self:
        """Put fresh ones onto an empty token, before `countersign init` would make its own."""
        known = cls(secrets.token_bytes(_LENGTH), secrets.token_bytes(_LENGTH))
        master = templates.master_key(_id(), master_label(_MASTER), stored=True)
        binding = templates.hmac_key(_id(), _BINDING_LABEL, stored=True, extractable=False, modifiable=False)
        device = Device.open(token_uri)
        try:
            for template, value in ((master, known.master), (binding, known.binding)):
                whole = templates.packed(template | {Attribute.VALUE: value})
                device._guard.change(lambda _, session, whole=whole: session.create_object(whole))  # type: ignore[misc]  # noqa: SLF001
        finally:
            device.close()
        return known

    def another(self, model: Keyset, phone: Phone, user: str) -> tuple[Keyset, Phone]:
        """Return keyset and phone of a further user, like the model's, with keys of its own."""
        name = new_id("ks", model.created_at)
        names = [DerivedName(_MASTER, secrets.token_bytes(_LENGTH)) for _ in range(2)]
        khmac, kauth = (
            self._derived(each.context(purpose, model.application_id, user, name))
            for purpose, each in zip(("khmac", "kauth"), names, strict=True)
        )
        keys = Keys.fresh(khmac, kauth)
        public = keys.private_key.public_key()
        row = replace(
            model,
            id=name,
            user_id=user,
            khmac=names[0].text(),
            kauth=names[1].text(),
            kpublic=point_name(public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)),
            spki=public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            device_id=f"dev_{user}",
        )
        mac = hmac.digest(self.binding, binding_input(row, UserStatus.ACTIVE), hashlib.sha256)
        account = replace(phone.account, user=user, keyset=name)
        return replace(row, binding=mac), Phone(account, keys)

    def _derived(self, context: bytes) -> bytes:
        return Cipher(algorithms.AES(self.master), modes.ECB()).encryptor().update(context)  # noqa: S305  # as the HSM does


def _id() -> bytes:
    return secrets.token_bytes(ID_LENGTH)
