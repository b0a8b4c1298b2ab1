"""Who are the people of a large benchmark: derived users, some with phones that act, the others rows with a past."""

import contextlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from rich.progress import track

from gateway.rules.user import User
from gateway.store import keysets, users
from gateway.store.database import Database
from scripts.benchmarks.bulk import Loader, Row, idle_users, past_answers
from scripts.benchmarks.known_keys import KnownKeys
from scripts.benchmarks.population import Transactions, enrol_customers
from scripts.benchmarks.servers import Stage
from scripts.benchmarks.verify import confirm_some
from tests.counterparts.phone import Phone

_POLICY = {"residency": "derived", "offline_allowed": True}
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Crowd:
    """The application's key, the people who act, and rows to copy."""

    api_key: str
    phones: list[Phone]
    models: dict[str, Row]

    @classmethod
    def gather(cls, stage: Stage, known: KnownKeys, count: int) -> "Crowd":
        """Enrol one person by the doors, let them confirm once, and make the others alike; the stage is initialised."""
        api_key, (phone,) = enrol_customers(stage, 1, _POLICY)
        with contextlib.closing(Transactions(stage, [phone])) as waiting:
            confirm_some(stage, waiting, 1)
        with contextlib.closing(Database(stage.database_url, 1)) as database:
            return cls(
                api_key,
                [phone, *_alike(database, known, phone, count - 1)],
                _models(Loader(stage.database_url)),
            )

    def fill(self, stage: Stage, idle: int, past: int) -> None:
        """Add so many people who do nothing, and so many answers that were given."""
        loader, names = Loader(stage.database_url), [f"idle{number:08x}" for number in range(max(idle, 1))]
        if idle:
            for table, rows in idle_users(self.models, names).items():
                loader.insert(table, rows, idle)
        if past and idle:
            for table, rows in past_answers(self.models, names, past).items():
                loader.insert(table, rows, past)
        loader.tidy()


def _alike(database: Database, known: KnownKeys, phone: Phone, count: int) -> list[Phone]:
    with database.reading() as connection:
        model = keysets.find_keyset(connection, phone.account.keyset)
        user = users.find_user(connection, phone.account.application, phone.account.user)
    assert model is not None
    assert user is not None
    phones = []
    loader = Loader(database.engine.url.render_as_string(hide_password=False))
    device = loader.model("devices")
    for start in track(range(0, count, _AT_ONCE), "Making people"):
        made = [
            known.another(model, phone, f"user-{start + n + 1}") for n in range(min(_AT_ONCE, count - start))
        ]
        phones += [each for _, each in made]
        names = [row.user_id for row, _ in made]
        with database.unit() as connection:
            for name in names:
                users.insert_user(connection, _named(user, name))
        rows = (device | {"id": f"dev_{name}", "user_id": name} for name in names)
        loader.insert("devices", rows, len(names))
        with database.unit() as connection:
            for row, _ in made:
                keysets.insert_keyset(connection, row)
    return phones


def _named(model: User, name: str) -> User:
    return replace(model, user_id=name)


def _models(loader: Loader) -> dict[str, Row]:
    wheres = {
        "users": "true",
        "devices": "true",
        "keysets": "status = 'active'",
        "transactions": "status = 'confirmed'",
    }
    found = {table: loader.model(table, where) for table, where in wheres.items()}
    found["attempts"] = loader.model("attempts")
    found["events"] = loader.model("events", "transaction_id IS NOT NULL")
    milliseconds = int(datetime.now(UTC).timestamp() * 1000) - 86_400_000
    found["transactions"]["created_at_ms"] = milliseconds
    return found
