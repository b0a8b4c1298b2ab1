"""How does a run go in which the token is lost: enrol, confirm while it is killed, stopped and cut off, audit, report.

Users are enrolled directly on SoftHSM, because the protocol of p11-kit carries no AES key wrap. Then the roles are
started anew on the same token behind `p11-kit server`, and the faults come one after the other: each when everybody
was served again after the one before.
"""

import asyncio
import signal
import sqlite3
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.counterparts.callback_receiver import CallbackReceiver
from tests.faults import fault_run
from tests.faults.crowd import GaveUp
from tests.faults.device_crowd import Confirming
from tests.faults.fault_run import Report
from tests.faults.processes import Processes
from tests.gateways import Gateway
from tests.hsm.remote import Remote

_SERVED_SECONDS = 120  # nobody waits longer than that for a device that is there
_QUIET_SECONDS = 0.5  # between two faults
_ORDERLY = (0, 1)  # how a process may end by itself: hung, or started while the device was away


@dataclass(frozen=True)
class Plan:
    """What is done to the token."""

    kills: int = 20
    stops: int = 3
    stop_seconds: float = 5.0
    cuts: int = 1
    cut_seconds: float = 30.0


@dataclass
class _Run:
    """One run: who confirms, what is done to the token, and how long each kind of fault was felt."""

    remote: Remote
    processes: Processes
    crowd: Confirming
    plan: Plan
    felt: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def play(self) -> None:
        """Do everything of the plan, one after the other."""
        plan = self.plan
        self._fault("calm", lambda: None)
        for number in range(plan.kills):
            # Every second time the server dies with those who serve clients, so that nobody answers for a moment.
            self._fault("killed", self._kill_server if number % 2 else self._kill)
        for _ in range(plan.stops):
            self._fault(f"stopped {plan.stop_seconds:g} s", lambda: self._stop(plan.stop_seconds))
        for _ in range(plan.cuts):
            self._fault(f"cut off {plan.cut_seconds:g} s", lambda: self._cut(plan.cut_seconds))

    def _fault(self, kind: str, cause: Callable[[], None]) -> None:
        cause()
        felt = self.crowd.until_served(time.monotonic(), _SERVED_SECONDS)
        self.felt.setdefault(kind, []).append(felt)
        time.sleep(_QUIET_SECONDS)

    def _kill(self) -> None:
        self.remote.send(signal.SIGKILL)

    def _kill_server(self) -> None:
        self._cut(0)

    def _stop(self, seconds: float) -> None:
        stopped = self.remote.children()
        self.remote.send_to(stopped, signal.SIGSTOP)
        time.sleep(seconds)
        self.remote.send_to(stopped, signal.SIGCONT)

    def _cut(self, seconds: float) -> None:
        self.remote.stop()
        time.sleep(seconds)
        self.remote.start()


def run(folder: Path, token_uri: str, plan: Plan, *, call_seconds: int, with_second: bool = False) -> Report:
    """Run it all on SQLite; a call to the token that takes longer than `call_seconds` hangs.

    `with_second` names SoftHSM itself as a second token behind the one that is lost: it holds the same.
    """
    gateway = fault_run.make_gateway(folder, token_uri, "")
    gateway.extra["COUNTERSIGN_TOKEN_CALL_SECONDS"] = str(call_seconds)
    report = Report("SQLite", 0)
    with CallbackReceiver() as receiver:
        shown = gateway.add_application(callback=receiver.url)
        receiver.trust(shown["webhook_secret"])
        with Processes(gateway, 0):
            crowd = Confirming(gateway, shown["api_key"])
        remote = Remote(folder, token_uri)
        if with_second:
            _forget_master(gateway)
            remote.uri = f"{remote.uri} {token_uri}"
        remote.start()
        try:
            _under_fire(gateway, remote, crowd, plan, report, receiver)
        finally:
            crowd.close()
            remote.stop()
            gateway.token_uri = token_uri
        asyncio.run(fault_run.audit_all(gateway, crowd, report))
    return report


def _forget_master(gateway: Gateway) -> None:
    """Expect no master of the tokens: p11-kit carries no derivation, so the first could not prove it."""
    with sqlite3.connect(next(gateway.folder.rglob("countersign.db"))) as connection:
        connection.execute("DELETE FROM house_keys WHERE name = 'master'")


def _under_fire(
    gateway: Gateway,
    remote: Remote,
    crowd: Confirming,
    plan: Plan,
    report: Report,
    receiver: CallbackReceiver,
) -> None:
    gateway.token_uri = remote.uri
    with Processes(gateway, 0) as processes:
        begin = time.monotonic()
        one = _Run(remote, processes, crowd, plan)
        with ThreadPoolExecutor(len(crowd.phones)) as threads:
            working = [threads.submit(crowd.work, user) for user in crowd.phones]
            try:
                one.play()
            except TimeoutError as error:
                report.faults.append(f"not served again: {error}")
            finally:
                crowd.stop()
            for each in working:
                if isinstance(error := each.exception(), GaveUp):
                    report.faults.append(f"somebody gave up: {error}")
                elif error is not None:
                    raise error
        report.seconds = time.monotonic() - begin
        fault_run.await_callbacks(crowd, receiver, report)
    ended, processes.died_alone = processes.died_alone, []
    fault_run.count(processes, crowd, receiver, report)
    _tell(one, ended, report)


def _tell(one: _Run, ended: list[str], report: Report) -> None:
    kinds = {name: len(felt) for name, felt in one.felt.items() if name != "calm"}
    report.kills = kinds
    for kind, felt in one.felt.items():
        for which, values in (
            ("first", [first for first, _ in felt]),
            ("all eight", [last for _, last in felt]),
        ):
            median, most = statistics.median(values), max(values)
            report.figures[f"{kind}, {which}"] = f"median {median:.2f} s, most {most:.2f} s"
    took = sorted(answer.answered_at - answer.asked_at for answer in one.crowd.answers)
    report.figures["a confirmation"] = f"median {took[len(took) // 2] * 1000:.0f} ms, most {took[-1]:.2f} s"
    report.figures["ended by themselves"] = ended
    report.faults += [f"broke: {line}" for line in ended if int(line.rpartition(" ")[2]) not in _ORDERLY]
