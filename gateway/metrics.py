"""Where are the figures of this process read? At a listener of its own, in the text format of Prometheus.

What the device, the canary and the outbox know is asked at each reading, so nothing is counted twice.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gateway import __version__
from gateway.certificate import end_of
from gateway.measures import CATALOGUE, COUNTED
from gateway.refusals import Outage
from gateway.scenarios.canary import OUTCOMES
from gateway.scenarios.context import Context
from gateway.settings import Settings, SettingsError
from gateway.store.deliveries import outbox
from hsm.any_device import standings_of, takeovers_of
from hsm.counting import BOUNDS, STATES, Snapshot
from hsm.standing import Standing

_Family = Any  # a Metric that takes values; the library has no common name for the three
_KINDS: dict[str, _Family] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}
_FIGURES: dict[str, Callable[[Snapshot], float]] = {
    "sessions": lambda shot: shot.sessions,
    "sessions_in_use": lambda shot: shot.in_use,
    "waiting": lambda shot: shot.waiting,
    "waiting_most": lambda shot: shot.most_waiting,
    "epoch": lambda shot: shot.epoch,
    "reinitialisations_total": lambda shot: shot.reinitialisations,
    "recoveries_total": lambda shot: shot.recoveries,
    "failed_attempts_total": lambda shot: shot.failed_attempts,
    "next_attempt_seconds": lambda shot: shot.seconds_to_next_attempt,
    "derived_held": lambda shot: shot.fleeting.size,
    "derived_held_most": lambda shot: shot.fleeting.most,
    "derived_made_total": lambda shot: shot.fleeting.made,
    "derived_evictions_total": lambda shot: shot.fleeting.evictions,
}
_log = structlog.get_logger("gateway")


class Figures(Collector):
    """Asks the parts of one context for what they know."""

    def __init__(self, ctx: Context, role: str, *, has_worker: bool) -> None:
        self._ctx, self._role, self._has_worker = ctx, role, has_worker

    def collect(self) -> Iterable[Metric]:
        """Give everything once."""
        yield _values("process_info", {(self._role, __version__): 1})
        standings = standings_of(self._ctx.device)
        yield from _operations(standings)
        yield from _device(standings)
        yield _values("device_takeovers_total", {(): takeovers_of(self._ctx.device)})
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


def _operations(standings: Sequence[Standing]) -> Iterable[Metric]:
    counts, family = _family("device_operations_total"), _family("device_operation_seconds")
    for number, shot in _opened(standings):
        for labels, value in shot.operations.items():
            counts.add_metric([number, *labels], value)
        for kind, latency in shot.latencies.items():
            buckets = [
                (str(bound), float(count)) for bound, count in zip(BOUNDS, latency.within, strict=True)
            ]
            family.add_metric([number, kind], [*buckets, ("+Inf", float(latency.count))], latency.seconds)
    yield counts
    yield family


def _device(standings: Sequence[Standing]) -> Iterable[Metric]:
    for name, value in _FIGURES.items():
        yield _values(f"device_{name}", {(number,): value(shot) for number, shot in _opened(standings)})
    uses = {
        (number, outcome): value
        for number, shot in _opened(standings)
        for outcome, value in (("held", shot.fleeting.hits), ("missing", shot.fleeting.misses))
    }
    yield _values("device_derived_uses_total", uses)
    numbered = [(str(each.number), each) for each in standings]
    states = {(number, state): float(state == each.state) for number, each in numbered for state in STATES}
    yield _values("device_state", states)
    yield _values("device_serving", {(number,): float(each.serves) for number, each in numbered})
    yield _values("device_differences", {(number,): len(each.differences) for number, each in numbered})
    yield _values("device_strays_total", {(number,): each.strays for number, each in numbered})


def _opened(standings: Sequence[Standing]) -> list[tuple[str, Snapshot]]:
    return [(str(each.number), each.shot) for each in standings if each.shot is not None]


def _family(name: str) -> _Family:
    figure = CATALOGUE[f"countersign_{name}"]
    return _KINDS[figure.kind](figure.name, figure.about, labels=figure.labels)


def _values(name: str, values: Mapping[Any, float]) -> Metric:
    family = _family(name)
    for labels, value in values.items():
        family.add_metric(list(labels), value)
    filled: Metric = family
    return filled


class _Certificate(Collector):
    """When the certificate ends that a door of this process speaks TLS with."""

    def __init__(self, end: datetime) -> None:
        self._end = end.timestamp()

    def collect(self) -> Iterable[Metric]:
        """Give it."""
        yield _values("certificate_ends_timestamp_seconds", {(): self._end})


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
    made = registry(ctx, role, has_worker=role in ("all", "worker"))
    end = end_of(settings) if role in ("all", "application", "client") else None
    if end is not None:
        made.register(_Certificate(end))
    with _listening(settings, made) as address:
        _log.info("metrics", address=address)
        yield


def require_free(settings: Settings) -> None:
    """Raise SettingsError now if the figures could not be published: before there are processes to fail, each."""
    if settings.metrics_bind:
        with _listening(settings, CollectorRegistry()):
            pass


@contextmanager
def _listening(settings: Settings, made: CollectorRegistry) -> Iterator[str]:
    host, _, port = settings.metrics_bind.rpartition(":")
    server, thread = _listen(host.strip("[]"), int(port), settings.workers, made)
    try:
        yield f"{host}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _listen(host: str, port: int, processes: int, made: CollectorRegistry) -> Any:
    """Listen at the first port that is free: each of several processes of a door has figures of its own."""
    error: Exception | None = None
    for number in range(port, port + processes):
        try:
            return start_http_server(number, host, made)
        except (OSError, OverflowError) as exc:  # the last: a port that is too large
            error = exc
    why = getattr(error, "strerror", None) or "not an address"
    raise SettingsError(
        f"Cannot listen on {host}:{port}: {why}. Free it, or name another in COUNTERSIGN_METRICS_BIND: "
        "each role needs one of its own."
    )
