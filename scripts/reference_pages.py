"""Which pages of the reference follow from the code, and what do they say?"""

import json
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import typer.main
from reference_states import states_page

from gateway import measures
from gateway.__main__ import command
from gateway.api.application import callbacks
from gateway.api.application import openapi as application_door
from gateway.api.application.calls import CALLS
from gateway.api.client import openapi as client_door
from gateway.api.client.actions import ACTIONS
from gateway.api.problems import STATUS, problem_type
from gateway.refusals import CATALOGUE
from gateway.rules import event as events
from gateway.rules import policy, scoring_policy
from gateway.rules.callback import CALLBACKS
from gateway.settings import PREFIX, Settings

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "reference"
NOTE = "<!-- Made by scripts/reference from the code; change the code instead. -->\n\n"


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heads = list(heads)
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def settings_page() -> str:
    """Every setting with default and meaning."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = "" if field.default in (None, "") else f"`{field.default}`"
        rows.append((f"`{PREFIX}{name.upper()}`", default, field.description or ""))
    return (
        "# Settings\n\n"
        + NOTE
        + "Read once from the environment. A name with the prefix that is not in this table "
        "keeps the program from starting. Secrets are never values: a setting names the file that holds them.\n\n"
        + _table(("name", "default", "meaning"), rows)
    )


def problems_page() -> str:
    """Every problem with its status and advice."""
    rows = [
        (f"`{problem.code}`", str(STATUS[problem.meaning]), problem.title, problem.advice)
        for problem in CATALOGUE.values()
    ]
    return (
        "# Problems\n\n" + NOTE + "Every refusal is a problem document (RFC 9457). `type` is "
        f"`{problem_type('<code>')}`, `code` is stable, `instance` names the request in the log. The reason "
        "stands in the event log and is not told to the asker where it would help an attacker.\n\n"
        + _table(("code", "status", "title", "what it means, what to do"), rows)
    )


def events_page() -> str:
    """Every type of event."""
    rows = [(f"`{type_}`", about) for type_, about in events.CATALOGUE.items()]
    return (
        "# Events\n\n"
        + NOTE
        + "The log only grows; the database refuses to change or delete a line. An event "
        "never holds content, keys or PINs. It holds the id of the request, its action, the address, the SHA-256 of "
        "the body (but not of one that carries a secret) and the authentication code it showed. "
        "Who reads on from `next` misses no line: a page ends before "
        "lines that are still being written.\n\n" + _table(("type", "meaning"), rows)
    )


def policy_page() -> str:
    """Every value of a policy."""
    defaults = policy.Policy()
    rows = [
        (f"`{name}`", f"`{getattr(defaults, name)}`", f"{least} to {most}", about)
        for name, (least, most, about) in policy.BOUNDS.items()
    ]
    rows += [
        (f"`{name}`", f"`{str(getattr(defaults, name)).lower()}`", "true or false", about)
        for name, about in policy.SWITCHES.items()
    ]
    rows += [
        (f"`{name}`", f"`{getattr(defaults, name)}`", " or ".join(f"`{word}`" for word in words), about)
        for name, (words, about) in policy.CHOICES.items()
    ]
    rows += [
        (f"`{name}`", f"`{json.dumps(policy.to_json(defaults)[name])}`", form, about)
        for name, (_, form, about) in policy.STRUCTURES.items()
    ]
    return (
        "# Policy\n\n"
        + NOTE
        + "What an application decides. `PUT /v1/policy` takes the values that differ from "
        "the defaults.\n\n" + _table(("name", "default", "bounds", "what it decides"), rows) + _scoring()
    )


def _scoring() -> str:
    """The parts of the value `scoring`: weights, numbers, and what is refused."""
    weights = [
        (f"`{factor}`", str(weight), who, about)
        for factor, (weight, who, about) in scoring_policy.FACTORS.items()
    ]
    numbers = [
        (f"`{name}`", str(default), f"{least} to {most}", about)
        for name, (least, most, default, about) in scoring_policy.NUMBERS.items()
    ]
    limit = ("`refuse_above`", "null", "null, `low` or `medium`", "approvals of a level above it are refused")
    return (
        "\n## Scoring\n\nThe value `scoring` is null (nothing is scored) or an object with any of these members; what "
        "is not named has its default. `weights` is an object of weights, 0 to 1000 each; 0 leaves a factor out. What "
        "it all means is [explained](../explanation/scoring.md).\n\n"
        + _table(("member", "default", "bounds", "what it decides"), [limit, *numbers])
        + "\n"
        + _table(("weight", "default", "known by", "what speaks against an answer"), weights)
    )


def calls_page() -> str:
    """The calls of the application door in one table."""
    rows = [
        (
            f"`{call.method} {call.path}`",
            call.about,
            f"`{call.scope}`",
            ", ".join(f"`{code}`" for code in call.problems),
        )
        for call in CALLS
    ]
    always = ", ".join(f"`{code}`" for code in application_door.ALWAYS)
    return (
        "# The application door\n\n" + NOTE + "The whole description is the OpenAPI 3.1 document at "
        "`/openapi.json`, kept here as [application-door.openapi.json](application-door.openapi.json). "
        f"Credentials: `Authorization: Bearer` with an API key. Every call can also answer {always}; see "
        "[problems](problems.md).\n\n"
        + _table(("call", "what it does", "scope", "problems of its own"), rows)
        + "\nWithout credentials: `GET /openapi.json`, `GET /.well-known/jwks.json`, `GET /livez`, `GET /readyz`.\n"
    )


def callbacks_page() -> str:
    """Every callback with the members of its `data`."""
    rows = []
    for type_, about in CALLBACKS.items():
        members = (f"`{name}`" for name in callbacks.DATA[type_].model_fields)
        rows.append((f"`{type_}`", about, ", ".join(members)))
    return (
        "# Callbacks\n\n"
        + NOTE
        + "What an application is told without asking, at the address that is registered for it (or, about a "
        "transaction, at the one it named). A body is an object of `type`, `timestamp`, `sequence` (it orders "
        "those about one transaction, from 1; 0 for all others) and `data`; the whole description is under "
        "`webhooks` in [application-door.openapi.json](application-door.openapi.json). How they are sealed "
        "and what proves an answer is in [the wire format](wire.md#callback); [how to receive "
        "them](../guides/callbacks.md) is a guide. A type that "
        "comes with a later version is to be answered well and passed over.\n\n"
        + _table(("type", "when", "`data`"), rows)
    )


def actions_page() -> str:
    """The actions of the client door in one table."""
    rows = [
        (f"`{action.name}`", action.about, ", ".join(f"`{code}`" for code in action.problems))
        for action in ACTIONS.values()
    ]
    always = ", ".join(f"`{code}`" for code in client_door.ALWAYS)
    return (
        "# The client door\n\n"
        + NOTE
        + f"What a phone asks, as `POST {client_door.PREFIX}<action>`. The whole description is the "
        f"OpenAPI 3.1 document at `{client_door.PREFIX}openapi.json`, kept here as "
        "[client-door.openapi.json](client-door.openapi.json); the exact bytes are in [the wire format](wire.md). "
        "Every request carries its AUTHCODE in `PC-Authorization`, every answer to an authenticated request the "
        "gateway's proof. A document cannot say that code, signature and proof are right: whoever writes a phone "
        "needs the wire format.\n\n"
        + _table(("action", "what it does", "problems of its own"), rows)
        + f"\nEvery action can also answer {always}; see [problems](problems.md).\n"
        f"\nWithout credentials: `GET {client_door.PREFIX}openapi.json`, `GET /livez`, `GET /readyz`.\n"
    )


def _written(document: dict[str, object]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


EXIT_STATUS = """\
What goes wrong is one line on standard error, `countersign: ` and what to mend. Exit status:

| status | meaning |
|---|---|
| 0 | done, or told to stop; also the end of a process whose token hung, to be started anew |
| 1 | not done; the line says why |
| 2 | the command was not understood; [of `doctor`](doctor.md#exit-status) it is a verdict |
| 3 | the token refused PIN or login: correct the PIN file first. A supervisor must not try again, for tokens count |

"""


def commands_page() -> str:
    """Every command with its help text."""
    parts = ["# Commands\n\n" + NOTE + EXIT_STATUS]
    group = typer.main.get_command(command)
    for path, leaf in _leaves(group, ("countersign",)):
        context = leaf.make_context(" ".join(path), [], resilient_parsing=True, terminal_width=80)
        text = re.sub(r"[ \t]+\n", "\n", leaf.get_help(context)).strip()
        parts.append(f"## {' '.join(path)}\n\n```text\n{text}\n```\n\n")
    return "".join(parts).rstrip() + "\n"


def _leaves(node: object, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], object]]:
    inner = getattr(node, "commands", None)
    if inner is None:
        return [(path, node)]
    return [leaf for name, child in inner.items() for leaf in _leaves(child, (*path, name))]


def metrics_page() -> str:
    """Every figure that a process publishes."""
    rows = [
        (f"`{figure.name}`", figure.kind, ", ".join(f"`{name}`" for name in figure.labels), figure.about)
        for figure in measures.CATALOGUE.values()
    ]
    return (
        "# Metrics\n\n"
        + NOTE
        + "What a process publishes at `/metrics` of `COUNTERSIGN_METRICS_BIND`, in the text "
        "format of Prometheus. All of it is counted from the start of the process. A histogram is read under its name "
        "with `_bucket`, `_sum` and `_count`. Beside these there are the client library's `process_*`: memory, "
        "processor time, open files. Alarms that make sense are in [a guide](../guides/monitoring.md).\n\n"
        + _table(("name", "kind", "labels", "what it tells"), rows)
    )


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "problems.md": problems_page,
    "events.md": events_page,
    "policy.md": policy_page,
    "states.md": lambda: states_page(NOTE),
    "metrics.md": metrics_page,
    "application-door.md": calls_page,
    "callbacks.md": callbacks_page,
    "application-door.openapi.json": lambda: _written(application_door.document()),
    "client-door.md": actions_page,
    "client-door.openapi.json": lambda: _written(client_door.document()),
    "commands.md": commands_page,
}


def main() -> int:
    """Write the pages, or with --check name those that differ."""
    differ = []
    for name, make in PAGES.items():
        page, path = make(), FOLDER / name
        if not path.exists() or path.read_text() != page:
            differ.append(name)
            if "--check" not in sys.argv:
                path.write_text(page)
    if "--check" in sys.argv and differ:
        print(f"docs/reference is not what the code says: {', '.join(differ)}. Run scripts/reference.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
