"""What does a process count, under which name? Every figure it publishes, and those counted where they happen.

Labels name kinds of things, never things: no user, no application, no key, nothing that a caller made up.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from prometheus_client import Counter, Histogram, disable_created_metrics

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_REQUEST_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


@dataclass(frozen=True, slots=True)
class Figure:
    """One published figure: its name without unit of exposition, its kind, its labels, and what it tells."""

    name: str
    kind: str  # counter, gauge, histogram
    labels: tuple[str, ...]
    about: str


def _named(figures: Iterable[Figure]) -> dict[str, Figure]:
    return {figure.name: figure for figure in figures}


CATALOGUE = _named(
    Figure(f"countersign_{name}", kind, labels, about)
    for name, kind, labels, about in (
        ("process_info", "gauge", ("role", "version"), "Always 1: what this process is."),
        (
            "device_operations_total",
            "counter",
            ("token", "kind", "outcome"),
            (
                "Operations on a token; `token` is its place among those of the settings, from 1. "
                "`outcome`: `ok`, `unavailable` (it was away or busy), `refused` (it said "
                "no to the input), `missing` (no such key), `failed`."
            ),
        ),
        (
            "device_operation_seconds",
            "histogram",
            ("token", "kind"),
            "How long they took, waiting for a session included.",
        ),
        ("device_sessions", "gauge", ("token",), "Callers that may be in the module at a time."),
        ("device_sessions_in_use", "gauge", ("token",), "Callers that are in it."),
        ("device_waiting", "gauge", ("token",), "Callers that wait for their turn."),
        ("device_waiting_most", "gauge", ("token",), "Callers that may wait; the next is turned away."),
        (
            "device_epoch",
            "gauge",
            ("token",),
            "How often the module was initialised again in this process, by anybody.",
        ),
        (
            "device_reinitialisations_total",
            "counter",
            ("token",),
            "How often recovery initialised the module again.",
        ),
        ("device_recoveries_total", "counter", ("token",), "Losses of the token that were recovered."),
        ("device_failed_attempts_total", "counter", ("token",), "Attempts to recover it that failed."),
        (
            "device_state",
            "gauge",
            ("token", "state"),
            (
                "1 for the state the token is in, else 0: `well`, `recovering`, `away`, `stopped` (refused PIN: "
                "somebody has to do something), `hung` (the process ends)."
            ),
        ),
        (
            "device_next_attempt_seconds",
            "gauge",
            ("token",),
            "Time until it is tried again; 0 if it need not be.",
        ),
        (
            "device_derived_held",
            "gauge",
            ("token",),
            "Keys of `derived` users that the token holds for this process.",
        ),
        ("device_derived_held_most", "gauge", ("token",), "How many it may hold."),
        (
            "device_derived_uses_total",
            "counter",
            ("token", "outcome"),
            "Times such a key was wanted. `outcome`: `held`, `missing` (it had to be made).",
        ),
        ("device_derived_made_total", "counter", ("token",), "Such keys that were made."),
        ("device_derived_evictions_total", "counter", ("token",), "Such keys that gave way to others."),
        ("device_serving", "gauge", ("token",), "1 for the token that serves, else 0."),
        (
            "device_differences",
            "gauge",
            ("token",),
            "The gateway's own keys that are missing on this token, or are others; with any it may not serve.",
        ),
        (
            "device_strays_total",
            "counter",
            ("token",),
            (
                "Times that a key of a user was not on this token, but on another; or was not brought to it within "
                "a minute."
            ),
        ),
        ("device_takeovers_total", "counter", (), "Times that another token than before began to serve."),
        (
            "canary_runs_total",
            "counter",
            ("outcome",),
            (
                "Known-answer operations, done at the interval of a setting. `outcome`: `ok`, `away`, `wrong` (the "
                "token computes something else than at the start of the process)."
            ),
        ),
        ("canary_ok", "gauge", (), "1 if the last of them went well, else 0."),
        (
            "http_request_seconds",
            "histogram",
            ("door", "method", "route", "status"),
            (
                "Answered requests and how long they took, a long poll's wait included. `route` is the template of the "
                "path. Of a `route` that nobody takes (`no route`), an unknown `method` is `other`."
            ),
        ),
        ("event_streams", "gauge", (), "Streams of events that are open. Only of a process with a token."),
        (
            "certificate_ends_timestamp_seconds",
            "gauge",
            (),
            (
                "When the certificate ends that this process speaks TLS with, in seconds since 1970. Only of a process "
                "with a door and a certificate, which was read when it started."
            ),
        ),
        (
            "worker_runs_total",
            "counter",
            ("duty", "outcome"),
            (
                "How often the worker did its duties: `callbacks`, `pushes`, `expiry`, `sweep`, `marks`. `outcome`: "
                "`ok`, `outage` (database or token away), `failed` (a bug, in the log)."
            ),
        ),
        (
            "outbox_waiting",
            "gauge",
            (),
            "Callbacks that are not delivered yet. Only of a process with a worker, while the database is there.",
        ),
        ("outbox_oldest_seconds", "gauge", (), "Age of the oldest of them; 0 if there is none."),
        (
            "pushes_total",
            "counter",
            ("provider", "outcome"),
            (
                "Tries to wake a phone. `outcome`: `ok` (the push service took it), `failed` (it is tried again), "
                "`given_up`, `gone` (it knows no such phone any more)."
            ),
        ),
    )
)

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, of no use to anybody here

_requests = Histogram(
    "countersign_http_request_seconds",
    CATALOGUE["countersign_http_request_seconds"].about,
    CATALOGUE["countersign_http_request_seconds"].labels,
    buckets=_REQUEST_SECONDS,
    registry=None,
)
_runs = Counter(
    "countersign_worker_runs_total",
    CATALOGUE["countersign_worker_runs_total"].about,
    CATALOGUE["countersign_worker_runs_total"].labels,
    registry=None,
)
_pushes = Counter(
    "countersign_pushes_total",
    CATALOGUE["countersign_pushes_total"].about,
    CATALOGUE["countersign_pushes_total"].labels,
    registry=None,
)
COUNTED = (_requests, _runs, _pushes)


def count_request(door: str, method: str, route: str, status: int, seconds: float) -> None:
    """Count one answered request; `route` is the template of its path."""
    _request_series(door, method if method in _METHODS else "other", route, status).observe(seconds)


@cache  # the labels name kinds of things, of which there are few
def _request_series(door: str, method: str, route: str, status: int) -> Histogram:
    return _requests.labels(door, method, route, str(status))


def count_run(duty: str, outcome: str) -> None:
    """Count one run of a duty of the worker."""
    _runs.labels(duty, outcome).inc()


def count_push(provider: str, outcome: str) -> None:
    """Count one try to wake a phone."""
    _pushes.labels(provider, outcome).inc()
