"""What does the token do under load: threads, sessions, times, searches?"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from typing import Any

from pkcs11 import Session
from pkcs11.exceptions import PKCS11Error

from hsm import ecdsa, rawkey
from hsm.doctor.bench import LABEL, Bench, deadline, why
from hsm.doctor.findings import Finding, Result
from hsm.errors import DeviceError
from hsm.handles import find_by_id, find_one
from hsm.keys import KeyKind, KeyRef
from hsm.sessions import open_session

_KEYS, _ROUNDS = 4, 100
_DIGEST = hashlib.sha256(b"countersign doctor").digest()
_LOCK_SECONDS = 60
_FEWEST_SESSIONS = 2  # one holds the login, one works
_PERCENT = 95


class _Worker(threading.Thread):
    """One thread with a session of its own; counts answers, and those that were wrong."""

    def __init__(
        self, bench: Bench, session: Session, work: Callable[[Session, int], bool], end: float
    ) -> None:
        super().__init__(daemon=True)
        self._bench, self._session, self._work, self._end = bench, session, work, end
        self.answers = self.wrong = 0
        self.error = ""

    def run(self) -> None:
        try:
            for turn in range(_ROUNDS):
                with self._bench.module.sharing(_LOCK_SECONDS):
                    self.wrong += not self._work(self._session, turn)
                self.answers += 1
                if time.monotonic() > self._end:
                    break
        except (PKCS11Error, DeviceError) as exc:
            self.error = why(exc)


def threads(bench: Bench) -> Finding:
    """What one thread computed first, all compute at once: MACs, signatures, verifications."""
    work = _work(bench)
    sessions = _open(bench, bench.plan.threads)
    end = deadline(bench.plan)
    workers = [_Worker(bench, session, work, end) for session in sessions]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for session in sessions:
        session.close()
    answers, wrong = (sum(getattr(each, name) for each in workers) for name in ("answers", "wrong"))
    figures = {"threads": len(workers), "answers": answers, "wrong": wrong}
    errors = sorted({each.error for each in workers if each.error})
    if wrong or errors or len(workers) < _FEWEST_SESSIONS:
        remark = "; ".join([f"{wrong} of {answers} answers of {len(workers)} threads were wrong", *errors])
        return Finding(trial="threads", result=Result.FAILS, remark=remark, figures=figures)
    remark = "one at a time, for the module hands out instances" if bench.direct is None else ""
    return Finding(trial="threads", result=Result.WORKS, remark=remark, figures=figures)


def _work(bench: Bench) -> Callable[[Session, int], bool]:
    secrets = [bench.secret() for _ in range(_KEYS)]
    expected = [bench.mac(key) for key in secrets]
    private, public = ecdsa.generate_pair(bench.session, LABEL, private=bench.private_public_keys)
    signing, verifying = (int(find_one(bench.session, ref).handle) for ref in (private, public))

    def work(session: Session, turn: int) -> bool:
        if turn % 10 == 0:  # now and then, for it takes longer
            signature = rawkey.ecdsa_sign(bench.direct, session, signing, _DIGEST)
            return rawkey.ecdsa_verify(session, verifying, _DIGEST, signature)
        which = turn % _KEYS
        return bench.mac(secrets[which], session=session) == expected[which]

    return work


def _open(bench: Bench, most: int) -> list[Session]:
    """Open up to `most` sessions; fewer if the token has no more."""
    opened: list[Session] = []
    try:
        while len(opened) < most:
            opened.append(open_session(bench.token))
    except PKCS11Error:
        pass
    return opened


def sessions(bench: Bench) -> Finding:
    """Opened until the plan or the token says that it is enough; two are open already."""
    opened = _open(bench, bench.plan.most_sessions - 2)
    for session in opened:
        session.close()
    total, wanted = len(opened) + 2, bench.plan.sessions
    figures: dict[str, Any] = {"opened": total, "wanted": wanted, "told": _told_sessions(bench)}
    if total >= wanted:
        remark = (
            f"{total}, and stopped there" if total >= bench.plan.most_sessions else f"{total}, and no more"
        )
        return Finding(trial="sessions", result=Result.WORKS, remark=remark, figures=figures)
    remark = f"only {total}: one of them holds the login, so {total - 1} can work"
    return Finding(trial="sessions", result=Result.RESTRICTED, remark=remark, figures=figures)


def _told_sessions(bench: Bench) -> int | None:
    """CK_TOKEN_INFO's number; None for no limit, or where the module does not tell."""
    if bench.direct is None:
        return None
    return bench.direct.token_numbers(bench.token.slot.slot_id)["most_sessions"] or None


def latency_mac(bench: Bench) -> Finding:
    """With the handle known, as in every confirmation."""
    key = bench.secret()
    return _timed(bench, "latency_mac", lambda: bench.mac(key))


def latency_sign(bench: Bench) -> Finding:
    """As for a receipt."""
    private, _ = ecdsa.generate_pair(bench.session, LABEL, private=bench.private_public_keys)
    handle = int(find_one(bench.session, private).handle)
    return _timed(
        bench, "latency_sign", lambda: rawkey.ecdsa_sign(bench.direct, bench.session, handle, _DIGEST)
    )


def latency_verify(bench: Bench) -> Finding:
    """As for the signature of a phone."""
    private, public = ecdsa.generate_pair(bench.session, LABEL, private=bench.private_public_keys)
    signing, verifying = (int(find_one(bench.session, ref).handle) for ref in (private, public))
    signature = rawkey.ecdsa_sign(bench.direct, bench.session, signing, _DIGEST)
    return _timed(
        bench,
        "latency_verify",
        lambda: rawkey.ecdsa_verify(bench.session, verifying, _DIGEST, signature),
    )


def latency_generate(bench: Bench) -> Finding:
    """A session object: what is stored takes longer."""
    return _timed(bench, "latency_generate", bench.secret)


def search(bench: Bench) -> Finding:
    """Some modules look at every object there is, so it grows with the token."""
    ref = KeyRef(KeyKind.SECRET, bytes(bench.secret(stored=True).id))
    return _timed(bench, "search", lambda: find_by_id(bench.session, ref))


def _timed(bench: Bench, trial: str, operation: Callable[[], object]) -> Finding:
    times: list[float] = []
    end = deadline(bench.plan)
    operation()  # the first may be of another kind
    while len(times) < bench.plan.samples and (time.monotonic() < end or not times):
        begin = time.perf_counter()
        operation()
        times.append((time.perf_counter() - begin) * 1000)
    times.sort()
    median, late = times[len(times) // 2], times[len(times) * _PERCENT // 100]
    figures = {"median_ms": round(median, 3), "p95_ms": round(late, 3), "n": len(times)}
    remark = f"median {median:.3g} ms, 95 % within {late:.3g} ms, n = {len(times)}"
    return Finding(trial=trial, result=Result.WORKS, remark=remark, figures=figures)
