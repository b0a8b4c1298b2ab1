"""How does a fault run go: enrol, confirm while processes are killed, wait until all is delivered, audit, report."""

import asyncio
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from gateway import assembly
from gateway.settings import load_settings
from tests.counterparts.callback_receiver import CallbackReceiver
from tests.faults import audit
from tests.faults.crowd import Crowd, GaveUp
from tests.faults.processes import Processes
from tests.faults.progress import Progress
from tests.gateways import Authority, Gateway

_DELIVERY_SECONDS = 400
_USERS = 6


@dataclass
class Report:
    """What happened and what was found; `faults` is empty when everything held."""

    database: str
    confirmations: int
    seconds: float = 0.0
    kills: dict[str, int] = field(default_factory=dict)
    starts: dict[str, int] = field(default_factory=dict)
    figures: dict[str, object] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def text(self) -> str:
        """Return the report as lines for people."""
        lines = {
            "database": self.database,
            "confirmations answered": self.confirmations,
            "seconds under fire": round(self.seconds),
            "kills": f"{sum(self.kills.values())}  {dict(sorted(self.kills.items()))}",
            "starts": dict(sorted(self.starts.items())),
            **self.figures,
            "faults": self.faults or "none",
        }
        return "\n".join(f"{name:>28}  {value}" for name, value in lines.items())


def make_gateway(folder: Path, token_uri: str, database_url: str) -> Gateway:
    """Return a gateway that is prepared but not started."""
    extra = {"COUNTERSIGN_CALLBACK_SECONDS_MOST": "2", "COUNTERSIGN_LOG_LEVEL": "warning"}
    gateway = Gateway(folder, token_uri, Authority.make(folder), database_url, extra)
    gateway.run("init")
    return gateway


def run(gateway: Gateway, confirmations: int, *, pause: tuple[float, float], seed: int) -> Report:
    """Run it all; raises crowd.GaveUp when somebody got no answer for minutes."""
    with CallbackReceiver() as receiver:
        shown = gateway.add_application(callback=receiver.url)
        receiver.trust(shown["webhook_secret"])
        report = Report("SQLite" if not gateway.database_url else "PostgreSQL", 0)
        with Processes(gateway, seed) as processes:
            crowd = Crowd(gateway, shown["api_key"], _USERS)
            with Progress(lambda: _state(crowd, processes, receiver, confirmations)):
                _under_fire(processes, crowd, confirmations, pause, seed, report)
                await_callbacks(crowd, receiver, report)
            crowd.close()
        count(processes, crowd, receiver, report)
        report.figures["errors in the log"] = _errors(gateway)
        asyncio.run(audit_all(gateway, crowd, report))
    return report


def _state(crowd: Crowd, processes: Processes, receiver: CallbackReceiver, confirmations: int) -> str:
    failed = crowd.notes.failures.total()
    return (
        f"{len(crowd.notes.settled)} of {confirmations} confirmed, {processes.kills.total()} kills, "
        f"{failed} failures on the way, {len(receiver.received)} callbacks"
    )


def _under_fire(
    processes: Processes,
    crowd: Crowd,
    confirmations: int,
    pause: tuple[float, float],
    seed: int,
    report: Report,
) -> None:
    begin, done = time.monotonic(), threading.Event()
    killer = processes.kill_at_random(*pause)
    try:
        with ThreadPoolExecutor(_USERS + 2) as threads:
            others = threads.submit(crowd.change_keys, done, seed)
            bank = threads.submit(crowd.ask, confirmations)
            try:
                list(threads.map(crowd.confirm, crowd.phones))
            finally:
                done.set()
            bank.result()
            others.result()
    except GaveUp as error:  # a fault, and all the more a reason to look what became of the rest
        report.faults.append(f"somebody gave up: {error}")
    finally:
        done.set()
        processes.calm()
        killer.join()
    report.seconds = time.monotonic() - begin


def await_callbacks(crowd: Crowd, receiver: CallbackReceiver, report: Report) -> None:
    """Wait until a callback about every confirmation arrived; for minutes, if need be."""
    begin = time.monotonic()
    while time.monotonic() < begin + _DELIVERY_SECONDS:
        arrived = {callback.transaction for callback in receiver.received}
        if set(crowd.notes.settled) <= arrived:
            break
        time.sleep(0.5)
    report.figures["seconds until the last callback"] = round(time.monotonic() - begin)


def count(processes: Processes, crowd: Crowd, receiver: CallbackReceiver, report: Report) -> None:
    """Put into the report what was counted, and what is wrong in it."""
    notes = crowd.notes
    report.confirmations = len(notes.settled)
    report.kills, report.starts = dict(processes.kills), dict(processes.starts)
    names: dict[str | None, set[str]] = {}
    for callback in receiver.received:
        names.setdefault(callback.transaction, set()).add(callback.id)
    report.figures["failures on the way"] = dict(notes.failures)
    report.figures["keysets issued meanwhile"] = len(notes.issued)
    report.figures["callbacks"] = len(receiver.received)
    report.figures["callbacks that came again"] = len(receiver.arrivals) - len(receiver.received)
    report.faults += notes.wrong + [f"ended by itself: {line}" for line in processes.died_alone]
    report.faults += [f"no callback about {name}" for name in notes.settled if name not in names]
    report.faults += [f"{len(names[name])} ids for {name}" for name in names if name and len(names[name]) > 1]
    report.faults += [
        f"a callback says that {each.transaction} is {each.type}, its phone was told {notes.settled[each.transaction]}"
        for each in receiver.received
        if each.transaction in notes.settled and each.type != f"transaction.{notes.settled[each.transaction]}"
    ]
    report.faults += [f"a callback was refused: {each.reason}" for each in receiver.arrivals if each.reason]


def _errors(gateway: Gateway) -> dict[str, int]:
    """Return what the processes complained about, without what a killed resource tracker leaves behind."""
    lines = gateway.log_file.read_text().splitlines()
    told = [line for line in lines if line.startswith("countersign:") or '"level": "error"' in line]
    return dict(Counter(line.partition('"timestamp"')[0][:300] for line in told))


async def audit_all(gateway: Gateway, crowd: Crowd, report: Report) -> None:
    """Put into the report what is wrong in database and token."""
    with assembly.open_context(load_settings(gateway.environment), audit.Later()) as ctx:
        orphans, missing, keys = await audit.check_token(ctx)
        found = {
            "answers that are not kept": audit.check_answers(ctx, crowd.notes),
            "transactions settled by half": audit.check_transactions(ctx),
            "users in disorder": audit.check_users(ctx),
            "orphans on the token": orphans,
            "keys that are missing": missing,
        }
    for name, faults in found.items():
        report.figures[name] = len(faults)
        report.faults += faults
    report.figures["keys on the token"] = keys
