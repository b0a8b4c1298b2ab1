"""How does the doctor survive a module that crashes or hangs? The trials are made in another process.

That process tells which trial it begins, so it is known where it ended. What it left on the token is removed by a
further process, which logs in only if the PIN was accepted before.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from dataclasses import asdict
from typing import Any

from hsm.doctor.bench import Plan
from hsm.doctor.findings import Finding, Result
from hsm.errors import InvalidUri
from hsm.uri import TokenUri

_CHUNK = 1 << 16
_GRACE_SECONDS = 5.0


class _Ended(Exception):  # it is what a process did, for the caller to say
    """The process ended before its work did; the text says how."""


def examine_apart(
    uri: str, plan: Plan, trial_seconds: float, begin: Callable[[str], None] = lambda _: None
) -> Generator[Finding, None, None]:
    """Make every trial in another process. A later finding of the same trial replaces the earlier.

    `trial_seconds` is how long one trial may take before the module is said to hang. Raises InvalidUri.
    """
    where = TokenUri.parse(uri)
    if not (where.token and where.module_path and where.pin_source):
        raise InvalidUri("The URI lacks token, module-path or pin-source.", "Give all three.")
    present, logged_in = "module", False
    try:
        with closing(_told(uri, plan, trial_seconds, only_clear=False)) as told:
            for each in told:
                if "begin" in each:
                    present = each["begin"]
                    begin(present)
                    continue
                finding = Finding.from_json(json.dumps(each))
                logged_in = logged_in or (finding.trial == "login" and finding.result is Result.WORKS)
                yield finding
    except _Ended as exc:
        remark = f"{exc} in the trial {present}"
        for trial in dict.fromkeys((present, "module")):
            yield Finding(trial=trial, result=Result.FAILS, remark=remark)
        if logged_in:
            _clear(uri, plan, trial_seconds)


def _clear(uri: str, plan: Plan, trial_seconds: float) -> None:
    with suppress(_Ended), closing(_told(uri, plan, trial_seconds, only_clear=True)) as told:
        for _ in told:
            pass


def _told(
    uri: str, plan: Plan, trial_seconds: float, *, only_clear: bool
) -> Generator[dict[str, Any], None, None]:
    """Start the process and yield what it tells. Raises _Ended."""
    ours, its = os.pipe()
    asked = json.dumps({"uri": uri, "plan": asdict(plan), "only_clear": only_clear})
    try:
        process = subprocess.Popen(  # noqa: S603  # ourselves
            [sys.executable, "-m", "hsm.doctor.child", str(its), asked],
            pass_fds=(its,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # modules talk; what they say of a crash goes to stderr
        )
    finally:
        os.close(its)
    try:
        yield from _lines(ours, trial_seconds)
        code = process.wait(trial_seconds)
        if code:
            raise _Ended(_how(code))
    except TimeoutError:
        process.kill()
        raise _Ended(f"the module did not come back within {trial_seconds:g} s") from None
    finally:
        os.close(ours)  # whoever writes there now learns that nobody listens, and clears up
        _wait(process)


def _lines(pipe: int, seconds: float) -> Generator[dict[str, Any], None, None]:
    buffer = b""
    while True:
        ready, _, _ = select.select([pipe], [], [], seconds)
        if not ready:
            raise TimeoutError
        read = os.read(pipe, _CHUNK)
        if not read:
            return
        *whole, buffer = (buffer + read).split(b"\n")
        for line in whole:
            yield json.loads(line)


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _how(code: int) -> str:
    if code < 0:
        return f"the module ended the process ({signal.Signals(-code).name})"
    return f"the process ended with status {code}"
