"""How do the worker's tests fill the outbox, and what do they read there?"""

import sqlalchemy as sa

from gateway.scenarios.deliveries import enqueue
from gateway.store.tables import deliveries, events
from tests.scenarios.bench import Bench, run


def put(bench: Bench, *names: str, url: str | None = None, transaction: str | None = None) -> None:
    """Put callbacks into the outbox, in this order."""
    with bench.ctx.database.unit() as connection:
        for name in names:
            enqueue(
                connection,
                bench.asker.application,
                f"test.{name}",
                {"transaction": None},
                bench.clock.now(),
                transaction_id=transaction,
                url=url,
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
