"""Does a process learn of every version of the gateway's keys, without searching the token while nothing changes?"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway import assembly
from gateway.rules.user import UserStatus
from gateway.scenarios import bindings, rotation
from gateway.scenarios.context import Context
from gateway.scenarios.version_watch import VersionWatch
from gateway.settings import Settings
from gateway.store import house_keys
from gateway.store.database import Database
from hsm.errors import DeviceUnavailable
from tests.scenarios.bench import Bench, SetClock, run
from tests.scenarios.test_rotation import retire, rotate


@dataclass
class Other:
    """Another process, which knows what was on the token when it began."""

    ctx: Context
    clock: SetClock
    watch: VersionWatch

    @property
    def numbers(self) -> list[int]:
        """The versions of the binding key that it knows."""
        return self.ctx.keys.binding.numbers

    def searches(self) -> int:
        """How often the token is searched when it looks."""
        before = self._searched()
        self.watch.look()
        return self._searched() - before

    def _searched(self) -> int:
        operations = self.ctx.device.snapshot().operations
        return sum(count for (kind, _), count in operations.items() if kind == "find")


@contextlib.contextmanager
def another_process(bench: Bench, database: Database | None = None) -> Iterator[Other]:
    """Begin another process."""
    clock, on = SetClock(), database or bench.ctx.database
    with assembly.make_context(Settings(), on, bench.device, clock) as ctx:
        yield Other(ctx, clock, VersionWatch(ctx.device, ctx.keys, on, clock))


@pytest.fixture
def prepared(bench: Bench) -> Bench:
    """A bench whose database notes the versions on the token."""
    assembly.prepare(bench.ctx.database, bench.device, bench.clock)
    return bench


def test_the_token_is_not_searched_while_the_database_notes_nothing_new(prepared: Bench):
    with another_process(prepared) as other:
        assert [other.searches() for _ in range(3)] == [0, 0, 0]


def test_a_rotation_is_learned_at_the_next_look_and_a_retirement_as_well(prepared: Bench):
    with another_process(prepared) as other:
        other.watch.look()
        old = other.numbers[-1]
        rotate(prepared)
        run(rotation.rotate_receipt(prepared.ctx, 0))
        other.watch.look()
        assert other.numbers == prepared.ctx.keys.binding.numbers == [*range(other.numbers[0], old + 2)]
        assert other.ctx.keys.receipts.current == prepared.ctx.keys.receipts.current
        retire(prepared, "binding", old)
        other.watch.look()
        assert other.numbers == prepared.ctx.keys.binding.numbers
        assert old not in other.numbers
        assert other.searches() == 0


def test_a_rotation_between_the_start_and_the_first_look_is_learned(prepared: Bench):
    with another_process(prepared) as other:
        rotate(prepared)
        other.watch.look()
        assert other.numbers == prepared.ctx.keys.binding.numbers


def test_a_version_that_a_row_names_is_looked_for_whatever_the_database_notes(prepared: Bench):
    phone = run(prepared.enrol("anna"))
    with another_process(prepared) as other:
        other.watch.look()
        new = rotate(prepared).version
        run(prepared.ctx.unit(house_keys.forget_house_key, "binding", new))
        other.watch._seen = None  # a process that has not looked since
        keyset = prepared.keyset(phone.account.keyset)
        assert other.searches() == 0
        with pytest.raises(DeviceUnavailable, match="new version"):
            bindings.is_bound(other.ctx, keyset, UserStatus.ACTIVE)
        other.watch.look()
        assert bindings.is_bound(other.ctx, keyset, UserStatus.ACTIVE)
        assert other.searches() == 0


def test_a_version_that_only_the_token_tells_of_is_learned_after_ten_minutes(prepared: Bench):
    with another_process(prepared) as other:
        new = other.numbers[-1] + 1
        prepared.device.create_house_key("binding", new)
        other.clock.move(minutes=10, seconds=-1)
        other.watch.look()
        assert new not in other.numbers
        other.clock.move(seconds=1)
        other.watch.look()
        assert new in other.numbers


def test_the_database_alone_makes_no_version_and_the_token_is_asked_until_they_agree(prepared: Bench):
    with another_process(prepared) as other:
        known = other.numbers
        invented = {("binding", known[-1] + 7): b"x"}
        run(prepared.ctx.unit(house_keys.note_house_keys, invented, prepared.clock.now()))
        assert all(other.searches() for _ in range(2))
        assert other.numbers == known


def test_without_the_database_the_token_is_searched_now_and_then(prepared: Bench, tmp_path: Path):
    gone = Database(f"sqlite:///{tmp_path / 'nowhere' / 'none.db'}", 1)
    with contextlib.closing(gone), another_process(prepared, gone) as other:
        assert other.searches() == 0
        other.clock.move(minutes=10)
        assert other.searches() > 0
        assert other.searches() == 0
