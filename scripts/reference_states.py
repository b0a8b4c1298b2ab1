"""What does the page about states say: the tables of the rules, drawn and written out."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import ModuleType

from gateway.rules import delivery, device, keyset, transaction, user

Edges = Mapping[tuple[StrEnum, StrEnum], StrEnum]


@dataclass(frozen=True, slots=True)
class Machine:
    """One table of states: where it stands, what it is about, and what becomes of an action it does not have."""

    name: str
    rules: ModuleType
    about: str
    else_: str

    @property
    def edges(self) -> Edges:
        """The table: (state, action) -> the state after it."""
        found: Edges = self.rules.TRANSITIONS
        return found


MACHINES = (
    Machine(
        "Transaction",
        transaction,
        "The user approves or declines; the application cancels; its time is over (`expire`); too many wrong answers "
        "came (`exhaust`); what speaks against an answer weighs too much (`refuse`).",
        "refused with `transaction_settled`: an outcome stands",
    ),
    Machine(
        "Keyset",
        keyset,
        "A phone registers it; newer keys, the removal of its device or the deletion of its user end it (`replace`); "
        "it is found to have been altered on its way, or renewed once more (`void`); nobody registers it in time "
        "(`lapse`). `unreadable` is a row that no gateway wrote; nothing can be done with it.",
        "refused with `keyset_not_open`",
    ),
    Machine(
        "User",
        user,
        "The application blocks, unblocks and deletes; too many failures block as well.",
        "refused with `user_deleted`",
    ),
    Machine(
        "Device",
        device,
        "Keys are issued for a device before a phone registers them (`expected`); the application removes it, or it "
        "gives way to another.",
        "refused with `not_found`",
    ),
    Machine(
        "Delivery",
        delivery,
        "A callback in the outbox. A try arrives; or fails, and there will be another; or was the last one, or the "
        "callback is found to be forged (`give_up`).",
        "not heard: a worker that lost its claim may come late",
    ),
)


def states_page(note: str) -> str:
    """Return the page; `note` says that it is made."""
    about = (
        "What can become of a thing, from the tables in `gateway/rules/` that the gateway asks before it changes a "
        "state. A push has no states: a row says that a device is to be woken, and goes when that is done or given "
        "up.\n"
    )
    return f"# States\n\n{note}{about}" + "".join(_section(machine) for machine in MACHINES)


def _section(machine: Machine) -> str:
    return (
        f"\n## {machine.name}\n\n{machine.about}\n\n{_picture(machine)}\n{_matrix(machine)}\n"
        f"No entry: {machine.else_}.\n"
    )


def _picture(machine: Machine) -> str:
    """Draw it for Mermaid: from the start, actions between the same two states on one arrow, to the ends."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for (state, action), after in machine.edges.items():
        arrows.setdefault((str(state), str(after)), []).append(str(action))
    lines = [f"[*] --> {machine.rules.START}"]
    lines += [f"{state} --> {after}: {', '.join(actions)}" for (state, after), actions in arrows.items()]
    lines += [f"{state} --> [*]" for state in _ends(machine)]
    drawn = "\n".join("    " + line for line in lines)
    return f"```mermaid\nstateDiagram-v2\n{drawn}\n```\n"


def _ends(machine: Machine) -> list[str]:
    """Return the states that can be reached and not be left."""
    reached = {str(after) for after in machine.edges.values()}
    left = {str(state) for (state, _), after in machine.edges.items() if after is not state}
    return sorted(reached - left)


def _matrix(machine: Machine) -> str:
    """Write every state with every action."""
    states, actions = (type(each) for each in next(iter(machine.edges)))
    lines = ["| | " + " | ".join(f"`{action}`" for action in actions) + " |", "|---|" + "---|" * len(actions)]
    for state in states:
        ends = [str(machine.edges.get((state, action), "")) for action in actions]
        lines.append(f"| **{state}** | " + " | ".join(ends) + " |")
    return "\n".join(lines) + "\n"
