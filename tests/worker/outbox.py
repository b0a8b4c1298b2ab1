"""How do the worker's tests fill the outbox, and what do they read there?"""

import secrets
import time
from collections.abc import Callable
from dataclasses import replace

import sqlalchemy as sa

from gateway.scenarios.context import Context
from gateway.scenarios.deliveries import enqueue
from gateway.store import applications
from gateway.store.tables import deliveries, events
from gateway.worker.callbacks import Courier
from gateway.worker.posting import Post
from tests.scenarios.bench import Bench, run


async def deliver_due(ctx: Context, post: Post) -> int:
    """Make one try of what is due, as much as is begun at once, and see it to its end; return how many."""
    courier = Courier(ctx, post)
    begun = await courier.start_due()
    await courier.tries.finish()
    return begun


def put(bench: Bench, *names: str, url: str | None = None, transaction: str | None = None) -> None:
    """Put callbacks into the outbox, in this order; with an address, those of another application that has it."""
    application = bench.asker.application
    with bench.ctx.database.unit() as connection:
        if url is not None:
            name = f"app_{secrets.token_hex(4)}"
            application = replace(application, id=name, name=name, callback_url=url)
            assert applications.insert_application(connection, application)
        for name in names:
            enqueue(
                connection,
                application,
                f"test.{name}",
                {"transaction": None},
                bench.clock.now(),
                transaction_id=transaction,
            )


def put_in_transaction(bench: Bench, *names: str) -> None:
    """Put callbacks of one transaction into the outbox."""
    run(bench.enrol("anna"))
    transaction = run(bench.ask_to_confirm("anna"))
    clear(bench)
    put(bench, *names, transaction=transaction)


def clear(bench: Bench) -> None:
    """Forget the callbacks that getting ready brought about."""
    bench.write("DELETE FROM deliveries")


def states(bench: Bench) -> list[tuple[str, str, int, str | None]]:
    """Return name, status, tries and last error of each callback, by sequence and name."""
    found = bench.rows(sa.select(deliveries).order_by(deliveries.c.sequence, deliveries.c.type))
    return [(row.type.removeprefix("test."), row.status, row.tries, row.error) for row in found]


def state(bench: Bench) -> tuple[str, int, str | None]:
    """Return status, tries and last error of the only callback."""
    ((_, *rest),) = states(bench)
    return rest[0], rest[1], rest[2]


def event_types(bench: Bench) -> list[str]:
    """Return what the log says of callbacks, in its order."""
    told = sa.select(events.c.type).where(events.c.type.like("callback.%")).order_by(events.c.number)
    return [row.type for row in bench.rows(told)]


def until(condition: Callable[[], object]) -> None:
    """Wait until it has come about, as long as a busy machine may need."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
