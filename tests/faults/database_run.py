"""How does a run go in which the database is lost: enrol, confirm while it comes and goes, audit, report."""

import asyncio
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.counterparts.callback_receiver import CallbackReceiver
from tests.faults import fault_run
from tests.faults.crowd import GaveUp
from tests.faults.device_crowd import Confirming
from tests.faults.fault_run import Report
from tests.faults.processes import Processes
from tests.gateways import Gateway

_SERVED_SECONDS = 60  # nobody waits longer than that for a database that is there
_QUIET_SECONDS = 0.5  # between two losses


def run(gateway: Gateway, lose: Callable[[Processes], None], times: int) -> Report:
    """Lose the database so many times, each when everybody was served again after the one before.

    Args:
        gateway: prepared, not started.
        lose: takes the database away and brings it back.
        times: how often.
    """
    with CallbackReceiver() as receiver:
        shown = gateway.add_application(callback=receiver.url)
        receiver.trust(shown["webhook_secret"])
        report = Report("PostgreSQL" if gateway.database_url else "SQLite", 0)
        with Processes(gateway, 0) as processes:
            crowd = Confirming(gateway, shown["api_key"])
            _under_fire(crowd, lambda: lose(processes), times, report)
            fault_run.await_callbacks(crowd, receiver, report)
            crowd.close()
        fault_run.count(processes, crowd, receiver, report)
        asyncio.run(fault_run.audit_all(gateway, crowd, report))
    report.kills = {"database lost": times}
    return report


def _under_fire(crowd: Confirming, lose: Callable[[], None], times: int, report: Report) -> None:
    begin, felt = time.monotonic(), []
    with ThreadPoolExecutor(len(crowd.phones)) as threads:
        working = [threads.submit(crowd.work, user) for user in crowd.phones]
        try:
            for _ in range(times):
                time.sleep(_QUIET_SECONDS)
                lose()
                felt.append(crowd.until_served(time.monotonic(), _SERVED_SECONDS)[1])
        except TimeoutError as error:
            report.faults.append(f"not served again: {error}")
        finally:
            crowd.stop()
        for each in working:
            try:
                each.result()
            except GaveUp as error:
                report.faults.append(f"somebody gave up: {error}")
    report.seconds = time.monotonic() - begin
    if felt:
        report.figures["all served again after"] = (
            f"median {statistics.median(felt):.2f} s, most {max(felt):.2f} s"
        )
