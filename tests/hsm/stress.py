"""One process of the stress test: 16 threads sign, verify, enrol and destroy, and check every answer.

Arguments: the URI of a token with the house keys, and for how many seconds. Prints one line of JSON.
"""

from __future__ import annotations

import collections
import hashlib
import hmac
import json
import random
import secrets
import sys
import threading
import time

from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hsm.device import Device
from hsm.errors import DeviceError
from hsm.keys import KeyKind, KeyRef

THREADS = 16


class Stress:
    """What all threads of this process share."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.key = device.house_key("binding")
        self.private, self.public = device.house_pair("receipt")
        self.expected = device.mac(self.key, b"stress")
        self.counts: collections.Counter[str] = collections.Counter()
        self.wrong: list[str] = []
        self.phone = ec.generate_private_key(ec.SECP256R1())
        public = self.phone.public_key()
        self.point = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def work(self, end: float) -> None:
        acts = random.choices([self.mac, self.sign, self.enrol], [2, 1, 1], k=1000)  # noqa: S311
        for act in acts * 1000:
            if time.monotonic() > end:
                return
            try:
                act()
                self.counts[act.__name__] += 1
            except (AssertionError, DeviceError) as exc:
                self.wrong.append(f"{act.__name__}: {exc!r} because of {exc.__cause__!r}")

    def mac(self) -> None:
        assert self.device.mac(self.key, b"stress") == self.expected

    def sign(self) -> None:
        digest = secrets.token_bytes(32)
        signature = self.device.sign(self.private, digest)
        assert self.device.verify(self.public, digest, signature)
        assert not self.device.verify(self.public, secrets.token_bytes(32), signature)

    def enrol(self) -> None:
        kek, ids = secrets.token_bytes(32), [secrets.token_bytes(16) for _ in range(2)]
        wrapped = self.device.issue(kek, ids, "countersign-user-khmac")
        public = self.device.import_public(secrets.token_bytes(16), self.point, "countersign-user-kpublic")
        keys = [KeyRef(KeyKind.SECRET, each) for each in ids]
        for key, blob in zip(keys, wrapped, strict=True):
            expected = hmac.digest(aes_key_unwrap(kek, blob), b"data", hashlib.sha256)
            assert self.device.mac(key, b"data") == expected
        self.confirm(public)
        for key in [*keys, public]:
            assert self.device.destroy(key)

    def confirm(self, public: KeyRef) -> None:
        digest = secrets.token_bytes(32)
        r, s = utils.decode_dss_signature(self.phone.sign(digest, ec.ECDSA(utils.Prehashed(SHA256()))))
        assert self.device.verify(public, digest, r.to_bytes(32, "big") + s.to_bytes(32, "big"))


def main(uri: str, seconds: float) -> None:
    device = Device.open(uri, wait_seconds=60)
    stress = Stress(device)
    end = time.monotonic() + seconds
    threads = [threading.Thread(target=stress.work, args=(end,)) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    device.close()
    sys.stdout.write(json.dumps({"counts": stress.counts, "wrong": stress.wrong[:20]}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
