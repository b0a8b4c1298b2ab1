"""What do device operations in a loop leave behind? A program: threads work, one more counts what is there.

`URI work OPERATIONS THREADS` uses every kind of operation through `Device` and checks each answer; it prints a line
of JSON for each sample. `URI alone` makes and destroys objects in the module without any of our layer, and prints how
many bytes the module keeps of each. Sessions and objects are counted by the shim between us and the module, which sees
every call, because C_GetTokenInfo of SoftHSM does not tell.
"""

import collections
import contextlib
import json
import os
import random
import secrets
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hsm import ecdsa, module, templates
from hsm.desk import Desk
from hsm.device import Device
from hsm.keys import DerivedRef, FleetingRef, KeyKind, KeyRef, PointRef
from hsm.limits import Limits
from hsm.uri import TokenUri
from tests.hsm import misbehaving

SAMPLES = 200
_USERS, _PHONES = 1000, 50
_MOST_FLEETING = 950  # so that about one derived key in ten has to be made, and another one gives way
_LABEL = "countersign-user-endurance"
_DATA, _DIGEST = b"endurance", bytes(range(32))
_SESSION_OBJECTS, _TOKEN_OBJECTS = 20_000, 300
_SHARES = {"house_mac": 240, "derived_mac": 280, "verify": 150, "sign": 100, "together": 25, "enrol": 1}
_MAKES = ("C_CreateObject", "C_CopyObject", "C_GenerateKey", "C_DeriveKey", "C_UnwrapKey")


class Work:
    """What all threads share: keys, the right answers, and how many operations were asked for."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.key = device.house_key("binding")
        self.private, self.public = device.house_pair("receipt")
        self.answer = device.mac(self.key, _DATA)
        self.users = [DerivedRef(1, secrets.token_bytes(32)) for _ in range(_USERS)]
        self.answers = {user: device.mac(user, _DATA) for user in self.users}
        self.phones = [_phone() for _ in range(_PHONES)]
        self.done: collections.Counter[int] = collections.Counter()
        self.enrolments = 0
        self.wrong: list[str] = []

    def loop(self, number: int, most: int) -> None:
        """Do operations of all kinds until the threads together did so many."""
        chance = random.Random(number)  # noqa: S311  # nothing secret hangs on it
        acts: list[Callable[[random.Random], int]] = [getattr(self, f"_{name}") for name in _SHARES]
        while sum(self.done.values()) < most:
            for act in chance.choices(acts, list(_SHARES.values()), k=50):
                try:
                    self.done[number] += act(chance)
                except Exception as exc:  # noqa: BLE001  # whatever it is, it is a finding
                    self.wrong.append(f"{act.__name__}: {exc!r}")

    def _house_mac(self, _: random.Random) -> int:
        assert self.device.mac(self.key, _DATA) == self.answer
        return 1

    def _derived_mac(self, chance: random.Random) -> int:
        user = chance.choice(self.users)
        assert self.device.mac(user, _DATA) == self.answers[user]
        return 1

    def _verify(self, chance: random.Random) -> int:
        point, signature = chance.choice(self.phones)
        assert self.device.verify(point, _DIGEST, signature)
        return 1

    def _sign(self, _: random.Random) -> int:
        assert len(self.device.sign(self.private, _DIGEST)) == len(_DIGEST) * 2
        return 1

    def _together(self, chance: random.Random) -> int:
        """What a batch of four confirmations asks for."""
        users, (point, signature) = chance.sample(self.users, 4), chance.choice(self.phones)

        def work(desk: Desk) -> int:
            for user in users:
                assert desk.mac(user, _DATA) == self.answers[user]
                assert desk.mac(self.key, _DATA) == self.answer
                assert desk.verify(point, _DIGEST, signature)
            return 3 * len(users)

        keys: list[FleetingRef] = [*users, point]
        return self.device.together(work, keys)

    def _enrol(self, _: random.Random) -> int:
        """Make, use and destroy the keys of a resident user."""
        ids = [secrets.token_bytes(16) for _ in range(3)]
        self.device.issue(secrets.token_bytes(32), ids[:2], _LABEL)
        point, signature = _phone()
        public = self.device.import_public(ids[2], point.point, _LABEL)
        keys = [KeyRef(KeyKind.SECRET, each) for each in ids[:2]]
        for key in keys:
            self.device.mac(key, _DATA)
        assert self.device.verify(public, _DIGEST, signature)
        for key in (*keys, public):
            assert self.device.destroy(key)
        self.enrolments += 1
        return 8


def _phone() -> tuple[PointRef, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    r, s = utils.decode_dss_signature(key.sign(_DIGEST, ec.ECDSA(utils.Prehashed(SHA256()))))
    return PointRef(point), r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _memory() -> dict[str, float]:
    """Return RSS, and what is this process's alone, in MiB; and how many blocks Python has allocated."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    found = {line.partition(":")[0]: int(line.split()[1]) / 1024 for line in lines if line.endswith("kB")}
    return {
        "rss_mib": found["Rss"],
        "uss_mib": found["Private_Clean"] + found["Private_Dirty"],
        "python_blocks": sys.getallocatedblocks(),
    }


def _sample(work: Work, shim: misbehaving.Shim, began: float) -> dict[str, object]:
    """Look at everything that must not grow. The counts of the shim are read while others work."""
    now = work.device.snapshot()
    made = shim.calls(*_MAKES) + 2 * shim.calls("C_GenerateKeyPair")
    return {
        "operations": sum(work.done.values()),
        "seconds": time.perf_counter() - began,
        **_memory(),
        "sessions": shim.calls("C_OpenSession") - shim.calls("C_CloseSession"),
        "objects": made - shim.calls("C_DestroyObject"),
        "objects_made": made,
        "enrolments": work.enrolments,
        "token_objects": sum(1 for _ in _token_folder().glob("*/*.object")),
        "handles": _handles(work.device),
        "fleeting": now.fleeting.size,
        "evictions": now.fleeting.evictions,
        "epoch": now.epoch,
        "recoveries": now.recoveries,
        "in_use": now.in_use,
        "waiting": now.waiting,
        "calls": shim.calls(),
    }


def _handles(device: Device) -> int:
    connection = device._guard._connection  # noqa: SLF001  # nobody else wants to know
    return 0 if connection is None else len(connection.handles)


def _token_folder() -> Path:
    return Path(os.environ["SOFTHSM2_CONF"]).parent / "tokens"


def work(uri: str, operations: int, threads: int) -> None:
    """Let the threads work, and print a sample each time a further share of the operations is done."""
    shim = misbehaving.Shim()
    limits = Limits(sessions=threads, most_waiting=threads * 4, wait_seconds=60, most_fleeting=_MOST_FLEETING)
    with contextlib.closing(Device.open(uri, limits=limits)) as device:
        device.create_master()
        device.create_house_key("binding")
        device.create_house_pair("receipt")
        shared, began = Work(device), time.perf_counter()
        running = [threading.Thread(target=shared.loop, args=(each, operations)) for each in range(threads)]
        for thread in running:
            thread.start()
        for number in range(1, SAMPLES):
            _wait_until(shared, running, operations * number // SAMPLES)
            _say(_sample(shared, shim, began))
        for thread in running:
            thread.join()
        _say(_sample(shared, shim, began) | {"wrong": shared.wrong[:20], "kinds": _kinds(device)})


def _wait_until(work: Work, running: list[threading.Thread], operations: int) -> None:
    while sum(work.done.values()) < operations and any(thread.is_alive() for thread in running):
        time.sleep(0.05)


def _kinds(device: Device) -> dict[str, int]:
    """Return how many operations of each kind the device itself counted, and how they ended."""
    return {f"{kind} {outcome}": count for (kind, outcome), count in device.snapshot().operations.items()}


def _say(found: object) -> None:
    print(json.dumps(found), flush=True)


def alone(uri: str) -> None:
    """Print how many bytes the module keeps of each session object and each token object it made and destroyed."""
    parts = TokenUri.parse(uri)
    assert parts.token is not None
    assert parts.module_path is not None
    with contextlib.closing(Device.open(uri)) as device:  # it logs in, and does nothing else here
        loaded = module.load(parts.module_path)
        session = loaded.token(parts.token).open(rw=True, attribute_mapper=templates.MAPPER)
        number, direct = int(session.handle), loaded.direct  # type: ignore[attr-defined]
        assert direct is not None

        def bytes_of_each(template: dict[int, bytes], count: int) -> float:
            for _ in range(count // 4):  # what is allocated once is not meant
                direct.destroy(number, direct.create(number, template))
            before = _memory()["uss_mib"]
            for _ in range(count):
                direct.destroy(number, direct.create(number, template))
            return (_memory()["uss_mib"] - before) * 2**20 / count

        _say(
            {
                "session_object_bytes": bytes_of_each(_template(stored=False), _SESSION_OBJECTS),
                "token_object_bytes": bytes_of_each(_template(stored=True), _TOKEN_OBJECTS),
            }
        )
        assert device.snapshot().recoveries == 0


def _template(*, stored: bool) -> dict[int, bytes]:
    point = ecdsa.check_point(_phone()[0].point)
    return templates.raw(
        ecdsa.public_template(secrets.token_bytes(16), point, _LABEL, stored=stored, private=True)
    )


if __name__ == "__main__":
    if sys.argv[2] == "alone":
        alone(sys.argv[1])
    else:
        work(sys.argv[1], int(sys.argv[3]), int(sys.argv[4]))
