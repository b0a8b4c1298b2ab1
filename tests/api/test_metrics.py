"""Can everything the reference promises be read at the metrics' listener, of every role, and nothing about users?"""

import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.measures import CATALOGUE, Figure
from gateway.rules.event import EventType
from tests.gateways import ROOT, Authority, Gateway, free_port

ALERTS = ROOT / "docs" / "guides" / "monitoring.md"
Samples = dict[str, list[tuple[dict[str, str], float]]]


@pytest.fixture
def gateway(tmp_path: Path, token_uri: str) -> Iterator[Gateway]:
    """A gateway that publishes its figures, not started yet."""
    made = Gateway(tmp_path, token_uri, Authority.make(tmp_path))
    made.extra |= {"COUNTERSIGN_METRICS_BIND": f"127.0.0.1:{free_port(2)}", "COUNTERSIGN_CANARY_SECONDS": "1"}
    made.run("init")
    yield made
    made.stop()


def page(gateway: Gateway, further: int = 0) -> str:
    host, _, port = gateway.extra["COUNTERSIGN_METRICS_BIND"].rpartition(":")
    answer = httpx2.get(f"http://{host}:{int(port) + further}/metrics", trust_env=False)
    assert answer.status_code == 200
    return answer.text


def read(gateway: Gateway, further: int = 0) -> Samples:
    found: Samples = {}
    for family in text_string_to_metric_families(page(gateway, further)):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def value(samples: Samples, name: str, **labels: str) -> float:
    return sum(number for found, number in samples[name] if labels.items() <= found.items())


def until(condition: object) -> None:
    deadline = time.monotonic() + 30
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.1)


def published(gateway: Gateway) -> dict[str, str]:
    """Return the kinds of the gateway's own figures by their names."""
    lines = re.findall(r"^# TYPE (countersign_\w+) (\w+)$", page(gateway), re.MULTILINE)
    return dict(lines)


def test_a_gateway_publishes_every_figure_of_the_catalogue_and_no_other(gateway: Gateway):
    gateway.start()
    shown = gateway.add_application()
    with gateway.bank(shown["api_key"]) as bank:
        bank.create_user("alice-of-the-metrics")
    until(lambda: value(read(gateway), "countersign_canary_runs_total", outcome="ok") > 1)
    until(lambda: 'duty="sweep",outcome="ok"' in page(gateway))
    samples = read(gateway)
    assert published(gateway) == {figure.name: figure.kind for figure in CATALOGUE.values()}
    for name, found in samples.items():
        figure = CATALOGUE.get(re.sub("_(bucket|sum|count)$", "", name))
        assert figure is None or all(set(labels) - {"le"} == set(figure.labels) for labels, _ in found), name
    assert value(samples, "countersign_device_state", state="well") == 1
    assert value(samples, "countersign_canary_ok") == 1
    put = {"door": "application", "method": "PUT", "route": "/v1/users/{user_id}", "status": "201"}
    assert value(samples, "countersign_http_request_seconds_count", **put) == 1
    assert value(samples, "countersign_worker_runs_total", duty="sweep", outcome="ok") >= 1
    assert "alice" not in str(samples)


def test_what_a_stranger_makes_up_is_no_label(gateway: Gateway):
    gateway.start()
    with httpx2.Client(verify=False, trust_env=False) as http:
        http.request("EAVESDROP", f"{gateway.application_url}/v1/users/mallory")
        http.request("EAVESDROP", f"{gateway.client_url}/mallory")
    samples = read(gateway)
    assert value(samples, "countersign_http_request_seconds_count", method="other", route="no route") == 2
    assert "mallory" not in str(samples)
    assert "EAVESDROP" not in str(samples)


def test_operations_are_counted_once(gateway: Gateway):
    gateway.extra["COUNTERSIGN_CANARY_SECONDS"] = "3600"
    gateway.start()
    until(lambda: value(read(gateway), "countersign_canary_runs_total") == 1)
    before, after = read(gateway), read(gateway)
    kinds = {"kind": "sign", "outcome": "ok"}
    name = "countersign_device_operations_total"
    assert value(before, name, **kinds) == value(after, name, **kinds) == 1
    assert value(after, "countersign_device_operation_seconds_count", kind="sign") == 1
    assert value(after, "countersign_device_operation_seconds_bucket", kind="sign", le="+Inf") == 1


def test_the_worker_alone_publishes_its_figures_as_well(gateway: Gateway):
    worker = gateway.start("work", wait=False)
    try:
        until(lambda: _answers(gateway))
        samples = read(gateway)
        assert value(samples, "countersign_process_info", role="worker") == 1
        assert value(samples, "countersign_outbox_waiting") == 0
    finally:
        worker.terminate()
        assert worker.wait(30) == 0


def test_each_of_several_processes_of_a_door_has_figures_of_its_own(gateway: Gateway):
    gateway.extra["COUNTERSIGN_WORKERS"] = "2"
    door = gateway.start("serve", "application")
    try:
        until(lambda: _answers(gateway, 0) and _answers(gateway, 1))
        for further in (0, 1):
            assert value(read(gateway, further), "countersign_process_info", role="application") == 1
        assert "countersign_outbox_waiting" not in read(gateway)
    finally:
        door.terminate()
        door.wait(60)


def _answers(gateway: Gateway, further: int = 0) -> bool:
    try:
        return bool(read(gateway, further))
    except httpx2.HTTPError:
        return False


@pytest.mark.parametrize("words", [["serve"], ["serve", "application"]], ids=" ".join)
def test_an_address_that_is_taken_is_told_in_one_line(gateway: Gateway, words: list[str]):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        gateway.extra["COUNTERSIGN_METRICS_BIND"] = f"127.0.0.1:{taken.getsockname()[1]}"
        assert gateway.start(*words, wait=False).wait(30) == 1
    [line] = [line for line in gateway.log_file.read_text().splitlines() if line]
    assert line.startswith("countersign: Cannot listen on")
    assert "COUNTERSIGN_METRICS_BIND" in line


def test_whether_it_is_ready_tells_of_the_canary(gateway: Gateway):
    gateway.start()

    def sung() -> bool:
        return bool(httpx2.get(f"{gateway.application_url}/readyz", verify=False).json()["canary"] == "ok")

    until(sung)


RULES = "\n".join(re.findall(r"```yaml\n(.*?)```", ALERTS.read_text(), re.DOTALL))
NOT_OURS = {"instance", "job", "le"}  # labels that Prometheus gives


def _figure(name: str) -> Figure:
    return CATALOGUE[re.sub("_(bucket|sum|count)$", "", name)]


def test_the_rules_for_alarms_name_figures_labels_and_values_that_exist():
    used = re.findall(r"(countersign_\w+)(?:\{([^}]*)\})?", RULES)
    assert len(used) >= 8
    for name, labels in used:
        figure = _figure(name)
        assert (name == figure.name) == (figure.kind != "histogram"), name
        for label, wanted in re.findall(r'(\w+)="([^"]*)"', labels):
            assert label in figure.labels, name
            if label in ("state", "outcome", "duty"):
                assert f"`{wanted}`" in figure.about, (name, wanted)


def test_the_rules_for_alarms_sum_by_labels_that_their_figures_have():
    for expression in re.findall(r"expr: (.*)", RULES):
        by = re.findall(r"by \(([^)]*)\)", expression)
        wanted = {label.strip() for labels in by for label in labels.split(",")} - NOT_OURS
        for name in re.findall(r"countersign_\w+", expression):
            assert wanted <= set(_figure(name).labels), expression


def test_what_to_do_is_told_of_every_alarm_and_every_event_that_deserves_one():
    alarms, events = ALERTS.read_text().partition("## What to do")[2].split("Of the [events]")
    assert re.findall(r"`(Countersign\w+)`", alarms) != []
    assert set(re.findall(r"`(Countersign\w+)`", alarms)) == set(re.findall(r"alert: (\w+)", RULES))
    named = set(re.findall(r"`([a-z]+\.[a-z_]+)`", events))
    assert len(named) > 4
    assert named <= {str(each) for each in EventType}
