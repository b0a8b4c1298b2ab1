"""What does the doctor tell an operator: what was tried, what follows, what else is on the token, when it is full?"""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gateway import __version__, assembly
from gateway.clock import SystemClock
from gateway.commands.alike import Alike, compare_tokens
from gateway.refusals import Outage
from gateway.rules.forecast import Forecast, Growth, forecast
from gateway.scenarios import inspection
from gateway.scenarios.context import HOUSE_PAIR, RECEIPT_VERSION
from gateway.scenarios.inspection import Comparison, Rows
from gateway.settings import Settings, SettingsError, load_settings
from gateway.store import schema
from gateway.store.database import Database
from gateway.store.schema import SchemaBehind
from gateway.wire.timestep import format_time
from hsm.doctor.apart import examine_apart
from hsm.doctor.bench import Plan
from hsm.doctor.catalogue import TRIALS
from hsm.doctor.findings import Finding, Result
from hsm.doctor.verdict import USUAL, Mode, Status, Usable, Verdict, judge, status_of
from hsm.errors import InvalidUri

_VERSION = 1  # of the shape of the JSON
_SHOWN = 10  # keys of each kind in the table; JSON has them all
_out = Console()
_COLOURS = {"works": "green", "restricted": "yellow", "fails": "red", "not usable": "red", "unknown": "dim"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything there is to tell."""

    findings: tuple[Finding, ...]
    verdicts: tuple[Verdict, ...]
    status: Status
    comparison: Comparison
    forecast: Forecast

    def to_json(self) -> dict[str, Any]:
        """Return it in the documented shape."""
        return {
            "version": _VERSION,
            "countersign": __version__,
            "status": int(self.status),
            "verdicts": [each.to_json() for each in self.verdicts],
            "trials": [each.to_json() for each in self.findings],
            "keys": self.comparison.to_json(),
            "forecast": inspection.forecast_json(self.forecast),
        }


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the options say."""

    token: str
    needed: tuple[Mode, ...]
    capacity: int | None
    sessions: int
    trial_seconds: float


def doctor(
    token: Annotated[
        str, typer.Option(help="RFC 7512 URI of the token to try, instead of the one of the settings.")
    ] = "",
    need: Annotated[
        list[Mode] | None,
        typer.Option(help="Mode that must work for status 0; usually all but derived and sealed."),
    ] = None,
    capacity: Annotated[
        int | None, typer.Option(min=1, help="How many objects the token holds, for the forecast.")
    ] = None,
    sessions: Annotated[int, typer.Option(min=2, max=10_000, help="How many sessions to open at most.")] = 64,
    trial_seconds: Annotated[
        float, typer.Option(min=1, help="How long a trial may take before the module is said to hang.")
    ] = 120,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Try out a PKCS#11 module and its token with throw-away keys, and say in which modes the gateway can use it.

    Of several tokens in the settings it tries each, and says what they do not have in common.

    Also lists keys of users that no row of the database names and rows whose keys are missing, and forecasts when the
    token is full. Exit status: 0 the needed modes work, 1 usable with restrictions, 2 not usable.
    """
    asked = _Asked(token, tuple(need or USUAL), capacity, sessions, trial_seconds)
    try:
        reports, alike = _examine_all(asked, quiet=as_json)
    except (SettingsError, InvalidUri) as error:
        print(f"countersign: {error}", file=sys.stderr)
        raise typer.Exit(Status.NOT_USABLE) from None
    status = max(each.status for each in reports)
    if alike is not None and not alike.is_alike:
        status = max(status, Status.RESTRICTED)
    if as_json:
        print(json.dumps(_to_json(reports, alike, status), indent=2))
    else:
        _show_all(reports, alike, status)
    raise typer.Exit(status)


def _examine_all(asked: _Asked, *, quiet: bool) -> tuple[list[Report], Alike | None]:
    """Return a report on each token, and, of several, what they have in common."""
    settings = load_settings()
    uris = _uris(asked, settings)
    with Console(stderr=True, quiet=quiet).status("trying …") as shown:

        def begin(trial: str) -> None:
            shown.update(f"trying: {TRIALS[trial]}")

        reports = [_examine(asked, settings, uri, begin) for uri in uris]
    if len(uris) == 1:
        return reports, None
    return reports, compare_tokens(settings, [each.findings for each in reports])


def _show_all(reports: Sequence[Report], alike: Alike | None, status: Status) -> None:
    for number, report in enumerate(reports, 1):
        _show(report, f"token {number}" if alike else "the module")
    for line in (*(() if alike is None else alike.lines()), _status_line(status)):
        _out.print(line, markup=False, highlight=False, soft_wrap=True)


def _uris(asked: _Asked, settings: Settings) -> tuple[str, ...]:
    uris = (asked.token,) if asked.token else settings.token_uris()
    if not uris:
        raise SettingsError("No token is named: set COUNTERSIGN_TOKEN_URI or say --token.")
    return uris


def _to_json(reports: Sequence[Report], alike: Alike | None, status: Status) -> dict[str, Any]:
    """Return the report on one token; on several, each of them and what they have in common."""
    if alike is None:
        return reports[0].to_json()
    each = [report.to_json() for report in reports]
    about = {"version": _VERSION, "countersign": __version__, "status": int(status)}
    return {**about, "tokens": each, "alike": alike.to_json()}


def _examine(asked: _Asked, settings: Settings, uri: str, begin: Callable[[str], None]) -> Report:
    database, before, why = _database(settings)
    plan = Plan(
        sessions=settings.token_sessions + 1,
        most_sessions=max(asked.sessions, settings.token_sessions + 1),
        pair_label=f"countersign-{HOUSE_PAIR}-{RECEIPT_VERSION}",
    )
    try:
        found = {finding.trial: finding for finding in examine_apart(uri, plan, asked.trial_seconds, begin)}
        comparison, growth = _ask_database(database, why, before, found.get("inventory"))
    finally:
        if database is not None:
            database.close()
    verdicts = judge(found.values())
    return Report(
        findings=tuple(found[trial] for trial in TRIALS if trial in found),
        verdicts=verdicts,
        status=status_of(verdicts, asked.needed),
        comparison=comparison,
        forecast=_forecast(found, growth, asked.capacity),
    )


def _database(settings: Settings) -> tuple[Database | None, Rows | None, str]:
    """Open and read the database if there is one that can be asked; else say why not. None is made."""
    if not settings.database_url and not (Path(settings.data_dir) / "countersign.db").exists():
        return None, None, "there is no database"
    database = assembly.open_database(settings)
    try:
        schema.require_current(database)
        return database, inspection.read_rows(database), ""
    except (Outage, SchemaBehind) as error:
        database.close()
        return None, None, str(error)


def _ask_database(
    database: Database | None, why: str, before: Rows | None, inventory: Finding | None
) -> tuple[Comparison, Growth | None]:
    if database is None or before is None:
        return Comparison(why_unknown=why), None
    try:
        growth = inspection.growth_of(database, SystemClock().now())
        if inventory is None or "user_keys" not in inventory.figures:
            return Comparison(why_unknown="the token could not be read"), growth
        point = inventory.figures["point"]
        if not inspection.is_of_token(database, None if point is None else bytes.fromhex(point)):
            return Comparison(why_unknown="the database belongs to another token"), growth
        after = inspection.read_rows(database)
        return inspection.compare(before, inventory.figures["user_keys"], after), growth
    except Outage as error:
        return Comparison(why_unknown=str(error)), None


def _forecast(found: dict[str, Finding], growth: Growth | None, capacity: int | None) -> Forecast:
    inventory, memory = found.get("inventory"), found.get("memory")
    objects = None
    if inventory is not None and "others" in inventory.figures:
        figures = inventory.figures
        objects = len(figures["user_keys"]) + len(figures["house_keys"]) + figures["others"]
    room = inspection.room_of({} if memory is None else memory.figures, objects, capacity)
    return forecast(objects, room, growth, SystemClock().now())


def _show(report: Report, what: str) -> None:
    table = Table("trial", "tried", "result", "remark", title=f"Countersign {__version__}: {what}")
    for finding in report.findings:
        table.add_row(finding.trial, TRIALS[finding.trial], _coloured(finding.result), escape(finding.remark))
    _out.print(table)
    table = Table("mode", "verdict", "why", title="What the gateway can do with it")
    for verdict in report.verdicts:
        table.add_row(verdict.mode, _coloured(verdict.usable), escape("\n".join(verdict.reasons)))
    _out.print(table)
    for line in (*_key_lines(report.comparison), _forecast_line(report.forecast)):
        _out.print(line, markup=False, highlight=False, soft_wrap=True)


def _coloured(word: Result | Usable) -> str:
    return f"[{_COLOURS[word]}]{word}[/]"


def _key_lines(keys: Comparison) -> Iterable[str]:
    if keys.orphans is None or keys.missing is None:
        yield f"keys and rows: not compared, {keys.why_unknown}"
        return
    yield f"keys of users that no row names: {len(keys.orphans)}"
    yield from (f"  {key}" for key in keys.orphans[:_SHOWN])
    yield f"keys that a row names and the token does not have: {len(keys.missing)}"
    yield from (f"  {key} of {keyset}" for key, keyset in keys.missing[:_SHOWN])


def _forecast_line(told: Forecast) -> str:
    if told.full_at is None or told.growth is None:
        return f"token full: unknown, {told.why}"
    growth = told.growth
    return (
        f"token full: {format_time(told.full_at)}, with room for {told.room} more objects and {growth.per_day:.3g} "
        f"more a day ({growth.enrolments} enrolments and {growth.renewals} renewals in {growth.days:.3g} days)"
    )


def _status_line(status: Status) -> str:
    meaning = {
        Status.WORKS: "everything needed works",
        Status.RESTRICTED: "usable with restrictions",
        Status.NOT_USABLE: "not usable",
    }
    return f"{meaning[status]} (exit status {int(status)})"
