"""Keys for users by the application door: made and wrapped in the HSM, a package, a QR code, a commit.

The ceiling is the token alone: one thread that generates, wraps, copies and destroys as many keys by plain calls.
"""

import contextlib
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gateway.ids import new_id
from gateway.rules.user import User, UserStatus
from gateway.store import users
from gateway.store.database import Database
from scripts.benchmarks.exchange import BankCall, Exchange
from scripts.benchmarks.population import application_of
from scripts.benchmarks.raw_enrolments import RawToken
from scripts.benchmarks.running import add_running_options, contest_sheet, prepared
from scripts.benchmarks.servers import Stage
from scripts.benchmarks.sheet import Sheet
from tests.tokens import create_token

_CREATED = 201


def add_options(parser: ArgumentParser) -> None:
    """Say what can be chosen."""
    add_running_options(parser)
    add = parser.add_argument
    add("--residency", choices=("resident", "derived"), default="resident", help="default: %(default)s")
    add("--delivery", choices=("qr_and_code", "qr"), default="qr_and_code", help="default: %(default)s")
    add("--pictures", action="store_true", help="have the QR code drawn as well, as SVG and PNG")


def measure(arguments: Namespace, folder: Path, token_uri: str) -> Sheet:
    """Issue keysets to users who have none."""
    with prepared(arguments, folder, token_uri) as (stage, database):
        api_key = stage.add_application({"residency": arguments.residency})
        with (
            RawToken.running(create_token(folder), arguments.residency) as raw,
            contextlib.closing(
                Newcomers(stage, api_key, arguments.delivery, pictures=arguments.pictures)
            ) as newcomers,
        ):
            once = raw.rate(0.1 if arguments.quick else 0.5, 0)
            return contest_sheet(
                arguments,
                stage,
                database,
                newcomers,
                Stage.application_door,
                f"Enrolments, {arguments.residency}, {arguments.database}, {arguments.server}",
                ceilings={"token alone": lambda seconds: raw.rate(seconds, newcomers.enrolled).per_second},
                rates={"issue": once},
            )


class Newcomers:
    """Users without keys, and the calls that give them some."""

    def __init__(self, stage: Stage, api_key: str, delivery: str, *, pictures: bool = False) -> None:
        self._pictures = pictures
        self._database = Database(stage.database_url, 1)
        self._api_key, self._delivery = api_key, delivery
        self._application = application_of(self._database)
        self._waiting: list[str] = []
        self.enrolled = 0  # how many were taken and not given back

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def take(self, count: int) -> Sequence[Exchange]:
        """Return calls for so many users, who are made first."""
        missing = [new_id("user", datetime.now(UTC)) for _ in range(count - len(self._waiting))]
        with self._database.unit() as connection:
            for name in missing:
                users.insert_user(connection, self._user(name))
        names = self._waiting + missing
        taken, self._waiting = names[:count], names[count:]
        self.enrolled += len(taken)
        return [self._call(name) for name in taken]

    def give_back(self, unused: Sequence[Exchange]) -> None:
        """Take back who was not asked for."""
        self._waiting += [each.subject for each in unused if isinstance(each, BankCall)]
        self.enrolled -= len(unused)

    def _call(self, name: str) -> BankCall:
        def is_right(said: dict[str, Any]) -> bool:
            keyset = said["keyset"]
            return (keyset["user"], keyset["status"]) == (name, "issued") and said["qr"]["text"][:4] == "PC1:"

        path = f"/v1/users/{quote(name)}/keysets"
        body = {"delivery": self._delivery, "pictures": self._pictures}
        return BankCall.write(self._api_key, path, body, is_right, status=_CREATED, subject=name)

    def _user(self, name: str) -> User:
        return User(
            application_id=self._application,
            user_id=name,
            status=UserStatus.ACTIVE,
            reason=None,
            failures=0,
            version=1,
            created_at=datetime.now(UTC),
        )
