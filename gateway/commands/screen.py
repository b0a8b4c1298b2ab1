"""How is something printed for people: as it is, whatever somebody outside put into it?

Users' ids and reasons come from applications. Nothing in them may colour, hide or move what an operator reads, nor
keep the rest from being read.
"""

from rich.console import Console


def screen() -> Console:
    """Return a console that takes nothing in a text for an instruction of its own."""
    return Console(markup=False, emoji=False)


def plain(text: str) -> str:
    """Return the text with everything that no screen shows as a sign written out."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
