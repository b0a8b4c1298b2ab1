# ruff: noqa: SLF001  # no part of our layer is to be measured, so the calls are made past it
"""How fast can a token alone make the keys of users: generate, wrap, copy, destroy, by plain calls in one thread?

A program: `URI RESIDENCY`, then for each line "SECONDS KEEP" on its input it works for so long, prints how many users'
keys it made in a second and what CPU each took, and destroys what is kept beyond KEEP users, because a token gets
slower the more it holds. With `derived` nothing is kept: two keys are derived, wrapped and destroyed.
"""

import contextlib
import ctypes
import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from pkcs11 import Attribute, Mechanism

from hsm import cryptoki, module, templates
from hsm.device import Device
from hsm.uri import TokenUri
from scripts.benchmarks.rates import Rate, rate_of

_LABEL = "countersign-user-raw"
_COPY, _GENERATE, _WRAP = 21, 58, 60  # positions in CK_FUNCTION_LIST (PKCS#11 2.40)
_ROOM = 64
_VALUE = int(Attribute.VALUE)
_KEYS = 2  # of each user


@dataclass(frozen=True, slots=True)
class RawToken:
    """The program, from outside."""

    process: subprocess.Popen[str]

    @classmethod
    @contextlib.contextmanager
    def running(cls, uri: str, residency: str) -> "Iterator[RawToken]":
        """Run it on a token of its own."""
        command = [sys.executable, "-m", __name__, uri, residency]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen(command, text=True, **pipes) as process:  # type: ignore[call-overload]
            yield cls(process)
            process.stdin.close()

    def rate(self, seconds: float, keep: int) -> Rate:
        """Let it work for so long."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(seconds, keep, file=self.process.stdin, flush=True)
        return Rate(**json.loads(self.process.stdout.readline()))


class _Calls:
    """Plain calls in one session."""

    def __init__(self, direct: cryptoki.DirectCalls, session: int) -> None:
        self._direct, self._session, self._kept = direct, session, list[int]()
        number, pointer = ctypes.c_ulong, ctypes.c_void_p
        prepared = direct._prepared
        self._generate = prepared(_GENERATE, number, pointer, pointer, number, pointer)
        self._wrap_key = prepared(_WRAP, number, pointer, number, number, pointer, pointer)
        self._copy = prepared(_COPY, number, number, pointer, number, pointer)
        self._kek = templates.raw(templates.aes_key(secrets.token_bytes(16), (Attribute.WRAP,)))
        fresh = templates.hmac_key(
            secrets.token_bytes(16), _LABEL, stored=False, extractable=True, modifiable=True
        )
        self._fresh = cryptoki._attributes(
            templates.raw(fresh | {Attribute.VALUE_LEN: templates.SECRET_LENGTH})
        )
        master = templates.raw(templates.master_key(secrets.token_bytes(16), _LABEL, stored=False))
        self._master = direct.create(session, master | {_VALUE: secrets.token_bytes(32)})
        self._derived = templates.raw(templates.derived_key(extractable=True))

    def resident(self) -> None:
        """Make, wrap and keep the keys of one user."""
        kek = self._create_kek()
        for _ in range(_KEYS):
            key, made = ctypes.c_ulong(), ctypes.c_ulong()
            how = cryptoki._Mechanism(Mechanism.GENERIC_SECRET_KEY_GEN, None, 0)
            _check(
                self._generate(
                    self._session, ctypes.byref(how), self._fresh, len(self._fresh), ctypes.byref(key)
                )
            )
            self._wrap(kek, key.value)
            kept = cryptoki._attributes(templates.raw(templates.kept_copy(secrets.token_bytes(16), _LABEL)))
            _check(self._copy(self._session, key.value, kept, len(kept), ctypes.byref(made)))
            self._kept.append(made.value)
            self._direct.destroy(self._session, key.value)
        self._direct.destroy(self._session, kek)

    def derived(self) -> None:
        """Derive and wrap the keys of one user."""
        kek, how = self._create_kek(), Mechanism.AES_ECB_ENCRYPT_DATA
        for _ in range(_KEYS):
            key = self._direct.derive(
                self._session, self._master, how, secrets.token_bytes(32), self._derived
            )
            self._wrap(kek, key)
            self._direct.destroy(self._session, key)
        self._direct.destroy(self._session, kek)

    def trim(self, users: int) -> None:
        """Destroy what was kept for more than so many users."""
        while len(self._kept) > users * _KEYS:
            self._direct.destroy(self._session, self._kept.pop())

    def _create_kek(self) -> int:
        return self._direct.create(self._session, self._kek | {_VALUE: secrets.token_bytes(32)})

    def _wrap(self, kek: int, key: int) -> None:
        how = cryptoki._Mechanism(Mechanism.AES_KEY_WRAP, None, 0)
        room, size = ctypes.create_string_buffer(_ROOM), ctypes.c_ulong(_ROOM)
        _check(self._wrap_key(self._session, ctypes.byref(how), kek, key, room, ctypes.byref(size)))


def _check(rv: int) -> None:
    if rv:
        raise SystemExit(f"the module answered 0x{rv:x}")


def main(uri: str, residency: str) -> None:
    """Serve orders until the input ends."""
    parts = TokenUri.parse(uri)
    assert parts.token
    assert parts.module_path
    with contextlib.closing(Device.open(uri)):  # it logs in, and does nothing else here
        loaded = module.load(parts.module_path)
        assert loaded.direct
        session = loaded.token(parts.token).open(rw=True, attribute_mapper=templates.MAPPER)
        calls = _Calls(loaded.direct, int(session.handle))  # type: ignore[attr-defined]
        for line in sys.stdin:
            seconds, keep = line.split()
            rate = rate_of(getattr(calls, residency), float(seconds))
            calls.trim(int(keep))
            print(json.dumps(asdict(rate)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
