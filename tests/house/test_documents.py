"""Do the documents point at things that exist?"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.tree import ROOT, documents, name_of, text

FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")
HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
COMMAND = re.compile(r"(?<![\w/.-])((?:scripts|\.ci)/[a-z][a-z0-9-]*)(?![\w/.-])")


@pytest.mark.parametrize("document", documents(), ids=name_of)
def test_every_link_of_the_document_leads_somewhere(document: Path) -> None:
    assert [link for link in _links(document) if not _resolves(document, link)] == []


@pytest.mark.parametrize("document", documents(), ids=name_of)
def test_every_command_of_the_document_exists(document: Path) -> None:
    named = set(COMMAND.findall(text(document)))
    assert {command for command in named if not (ROOT / command).is_file()} == set()


def test_every_document_can_be_reached_from_the_readme() -> None:
    reached, ahead = set(), [ROOT / "README.md"]
    while ahead:
        document = ahead.pop()
        reached.add(document)
        targets = {(document.parent / link.partition("#")[0]).resolve() for link in _links(document)}
        ahead += [target for target in targets & set(documents()) if target not in reached]
    lost = [
        name_of(path) for path in documents() if name_of(path).startswith("docs/") and path not in reached
    ]
    assert lost == []


def _links(document: Path) -> Iterator[str]:
    for first, second in LINK.findall(FENCED.sub("", text(document))):
        link = first or second
        if not re.match(r"[a-z]+:", link):
            yield link


def _resolves(document: Path, link: str) -> bool:
    place, _, anchor = link.partition("#")
    target = document.parent / place if place else document
    if not target.exists():
        return False
    return not anchor or target.suffix != ".md" or anchor in _anchors(target)


def _anchors(document: Path) -> set[str]:
    """Make the anchors as the common Markdown viewers do: lower case, no punctuation, dashes for spaces."""
    headings = HEADING.findall(FENCED.sub("", text(document)))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
