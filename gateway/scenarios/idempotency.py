"""Was this very request made before: one effect for each Idempotency-Key of an application."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.refusals import Refusal
from gateway.scenarios.access import Asker
from gateway.scenarios.context import Context
from gateway.store import guards
from gateway.store.database import Connection
from gateway.store.guards import Remembered
from gateway.wire.house_inputs import request_input

_KEPT = timedelta(hours=24)
# As long as planned keys may wait. After that a process counts as killed, and its key is free.
_RUNS_MOST = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Once:
    """The key of a request (None: none was sent) and the hash of method, path and body, sealed if that is secret."""

    key: str | None
    request_sha256: bytes


async def seal(ctx: Context, asker: Asker, once: Once) -> Once:
    """Put a MAC by the HSM in place of the hash, so that nobody can search for the secret in the body."""
    if once.key is None:
        return once
    over = request_input(asker.application.id, once.request_sha256)
    return Once(once.key, await ctx.on_device(ctx.device.mac, ctx.keys.credential, over))


def claim_all(
    connection: Connection, made: Sequence[tuple[Asker, Once, str]], now: datetime
) -> list[str | Refusal | None]:
    """Claim keys in the unit that makes all of this; return for each what an earlier request made, or None.

    Args:
        connection: an open unit.
        made: who asks, under which key (no two under the same), and the id of what is made for it.
        now: the moment of the unit.

    Returns for each the id of what an earlier, finished request made, or why it is refused, as ``claim`` does.
    """
    named = [
        (asker.application.id, once.key, once.request_sha256, resource)
        for asker, once, resource in made
        if once.key is not None
    ]
    ours = guards.remember_results(connection, named, now + _KEPT)
    return [
        None
        if once.key is None or (asker.application.id, once.key) in ours
        else _made_earlier(guards.find_request(connection, asker.application.id, once.key), once)
        for asker, once, _ in made
    ]


def _made_earlier(remembered: Remembered, once: Once) -> str | Refusal:
    if remembered.request_sha256 != once.request_sha256:
        return Refusal("idempotency_mismatch")
    return Refusal("in_progress") if remembered.resource is None else remembered.resource


def take_back(connection: Connection, asker: Asker, once: Once, resource: str) -> None:
    """Free the key of what was refused after all, in the unit that claimed it."""
    if once.key is not None:
        guards.forget_result(connection, asker.application.id, once.key, resource)


def claim(connection: Connection, asker: Asker, once: Once, now: datetime) -> str | None:
    """Claim the key in the unit of the effect; return the id of what an earlier, finished request made.

    Raises:
        Refusal: ``idempotency_mismatch`` for another request under the key, ``in_progress`` while the first runs.
    """
    if once.key is None:
        return None
    remembered = guards.remember_request(
        connection, asker.application.id, once.key, once.request_sha256, now + _RUNS_MOST
    )
    if remembered is None:
        return None
    earlier = _made_earlier(remembered, once)
    if isinstance(earlier, Refusal):
        raise earlier
    return earlier


def finish(connection: Connection, asker: Asker, once: Once, resource: str, now: datetime) -> None:
    """Note the id of what the request made."""
    if once.key is not None:
        guards.finish_request(connection, asker.application.id, once.key, resource, now + _KEPT)


def release(connection: Connection, asker: Asker, once: Once) -> None:
    """Free the key of a request that failed between its units and changed nothing."""
    if once.key is not None:
        guards.forget_request(connection, asker.application.id, once.key)
