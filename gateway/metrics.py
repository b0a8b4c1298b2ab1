"""Where are the figures of this process read? At a listener of its own, in the text format of Prometheus.

What the device, the canary and the outbox know is asked at each reading, so nothing is counted twice.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gateway import __version__
from gateway.measures import CATALOGUE, COUNTED
from gateway.refusals import Outage
from gateway.scenarios.canary import OUTCOMES
from gateway.scenarios.context import Context
from gateway.settings import Settings, SettingsError
from gateway.store.deliveries import outbox
from hsm.counting import BOUNDS, STATES, Snapshot

_Family = Any  # a Metric that takes values; the library has no common name for the three
_KINDS: dict[str, _Family] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}
_log = structlog.get_logger("gateway")


class Figures(Collector):
    """Asks the parts of one context for what they know."""

    def __init__(self, ctx: Context, role: str, *, has_worker: bool) -> None:
        self._ctx, self._role, self._has_worker = ctx, role, has_worker

    def collect(self) -> Iterable[Metric]:
        """Give everything once."""
        shot = self._ctx.device.snapshot()
        yield _values("process_info", {(self._role, __version__): 1})
        yield from _operations(shot)
        yield from _device(shot)
        canary = self._ctx.canary
        yield _values("canary_runs_total", {(outcome,): canary.runs[outcome] for outcome in OUTCOMES})
        yield _values("canary_ok", {(): float(canary.last == "ok")})
        yield _values("event_streams", {(): self._ctx.feed.open_streams})
        if self._has_worker:
            yield from self._outbox()

    def _outbox(self) -> Iterable[Metric]:
        with suppress(Outage):
            now = self._ctx.clock.now()
            with self._ctx.database.reading() as connection:
                waiting, oldest = outbox(connection)
            age = 0.0 if oldest is None else (now - oldest).total_seconds()
            yield _values("outbox_waiting", {(): waiting})
            yield _values("outbox_oldest_seconds", {(): max(0.0, age)})


def _operations(shot: Snapshot) -> Iterable[Metric]:
    yield _values("device_operations_total", shot.operations)
    family = _family("device_operation_seconds")
    for kind, latency in shot.latencies.items():
        buckets = [(str(bound), float(count)) for bound, count in zip(BOUNDS, latency.within, strict=True)]
        family.add_metric([kind], [*buckets, ("+Inf", float(latency.count))], latency.seconds)
    yield family


def _device(shot: Snapshot) -> Iterable[Metric]:
    values = {
        "sessions": shot.sessions,
        "sessions_in_use": shot.in_use,
        "waiting": shot.waiting,
        "waiting_most": shot.most_waiting,
        "epoch": shot.epoch,
        "reinitialisations_total": shot.reinitialisations,
        "recoveries_total": shot.recoveries,
        "failed_attempts_total": shot.failed_attempts,
        "next_attempt_seconds": shot.seconds_to_next_attempt,
    }
    for name, value in values.items():
        yield _values(f"device_{name}", {(): value})
    derived = shot.fleeting
    yield _values("device_derived_held", {(): derived.size})
    yield _values("device_derived_held_most", {(): derived.most})
    yield _values("device_derived_uses_total", {("held",): derived.hits, ("missing",): derived.misses})
    yield _values("device_derived_made_total", {(): derived.made})
    yield _values("device_derived_evictions_total", {(): derived.evictions})
    yield _values("device_state", {(state,): float(state == shot.state) for state in STATES})


def _family(name: str) -> _Family:
    figure = CATALOGUE[f"countersign_{name}"]
    return _KINDS[figure.kind](figure.name, figure.about, labels=figure.labels)


def _values(name: str, values: Mapping[Any, float]) -> Metric:
    family = _family(name)
    for labels, value in values.items():
        family.add_metric(list(labels), value)
    filled: Metric = family
    return filled


class _Tokenless(Collector):
    """What there is to say of a process without a token."""

    def __init__(self, role: str) -> None:
        self._role = role

    def collect(self) -> Iterable[Metric]:
        """Give everything once."""
        yield _values("process_info", {(self._role, __version__): 1})


def registry(ctx: Context | None, role: str, *, has_worker: bool) -> CollectorRegistry:
    """Return everything that a process of this role publishes; without a context, of one without a token."""
    made = CollectorRegistry()
    asked = _Tokenless(role) if ctx is None else Figures(ctx, role, has_worker=has_worker)
    for each in (asked, *COUNTED):
        made.register(each)
    ProcessCollector(registry=made)
    return made


@contextmanager
def published(settings: Settings, ctx: Context | None, role: str) -> Iterator[None]:
    """Publish the figures of this process at ``/metrics`` for as long as the block lasts, if that is wanted.

    Raises:
        SettingsError: the address cannot be listened on.
    """
    if not settings.metrics_bind:
        yield
        return
    host, _, port = settings.metrics_bind.rpartition(":")
    made = registry(ctx, role, has_worker=role in ("all", "worker"))
    server, thread = _listening(host.strip("[]"), int(port), settings.workers, made)
    _log.info("metrics", address=f"{host}:{server.server_port}")
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _listening(host: str, port: int, processes: int, made: CollectorRegistry) -> Any:
    """Listen at the first port that is free: each of several processes of a door has figures of its own."""
    error: OSError | None = None
    for number in range(port, port + processes):
        try:
            return start_http_server(number, host, made)
        except OSError as exc:
            error = exc
    why = error.strerror if error else "no port"
    raise SettingsError(
        f"Cannot listen on {host}:{port}: {why}. Free it, or name another in COUNTERSIGN_METRICS_BIND."
    )
