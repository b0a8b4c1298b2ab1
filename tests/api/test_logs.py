"""Is every line of the log one JSON object, and does a log that cannot be written stop nobody's work?"""

import json
import os
import subprocess
import sys

from tests.gateways import ROOT

_PROGRAM = """
import logging, structlog
from gateway.logs import configure_logs
configure_logs("info")
log = structlog.get_logger("access")
log.debug("too small")
log.info("request", status=200, secret="s3cret", when=RuntimeError("odd"))
logging.getLogger("library").warning("said %s", "so")
try:
    key = "s3cret"
    raise ValueError("broken")
except ValueError as error:
    log.error("failed", exc_info=error)
print("done")
"""


def _run(stderr: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _PROGRAM]
    usual = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        command, cwd=ROOT, env=usual, stdout=subprocess.PIPE, stderr=stderr, text=True, check=False
    )


def test_lines_of_the_house_and_of_libraries_are_json_without_secrets() -> None:
    ran = _run(subprocess.PIPE)
    assert "s3cret" not in ran.stderr
    request, library, failed = (json.loads(line) for line in ran.stderr.splitlines())
    assert (request["event"], request["logger"], request["level"]) == ("request", "access", "info")
    assert (request["status"], request["secret"]) == (200, "***")
    assert (library["event"], library["logger"], library["level"]) == ("said so", "library", "warning")
    assert failed["exception"][0]["exc_type"] == "ValueError"
    assert {line["timestamp"][-1] for line in (request, library, failed)} == {"Z"}


def test_a_full_disk_under_the_log_stops_nothing() -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123  # not a path of ours
        ran = _run(full.fileno())
    assert (ran.stdout, ran.returncode) == ("done\n", 0)
