"""How is a door called with what its own document allows, and with what it forbids?

schemathesis makes the requests and holds the answers to the document. What it cannot know is put in by the tests: ids
that exist, and now and then a whole request that gets as far as a request can get.
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, strategies
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from tests.journeys.stage import Json

ALLOWED, FORBIDDEN = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]
PLACES = ("path_parameters", "query", "body")
YES_OR_NO = strategies.sampled_from(
    (True, False)
)  # the first request of a walk has a yes everywhere, see ``call``
SECONDS_MOST = 60
MOST_ID = 64
# The same requests in every run; nothing is shrunk, because an answer depends on what was asked before.
SETTINGS = hypothesis.settings(
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
Draw = Callable[[Any], Any]


@dataclass
class Door:
    """One door of a running gateway, with its document."""

    url: str
    ca_file: Path
    path: str
    session: requests.Session = field(default_factory=requests.Session)

    def __post_init__(self) -> None:
        """Fetch the document, without credentials."""
        self.session.trust_env = False
        answer = self.session.get(self.url + self.path, timeout=SECONDS_MOST, verify=str(self.ca_file))
        assert answer.status_code == requests.codes.ok
        self.document: Json = answer.json()
        # Credentials are put in by the session: a request shall be refused for what it says.
        self.schema = schemathesis.openapi.from_dict({**self.document, "security": []})

    def close(self) -> None:
        """Close the connections."""
        self.session.close()

    def methods_answered(self) -> dict[str, set[str]]:
        """Return by path which methods the answer to a wrong one names, beside HEAD."""
        found = {}
        for path in self.document["paths"]:
            url = self.url + re.sub("{.+?}", "any", path)
            answer = self.session.options(url, timeout=SECONDS_MOST, verify=str(self.ca_file))
            assert answer.status_code == requests.codes.method_not_allowed, path
            found[path] = set(answer.headers["allow"].lower().split(", ")) - {"head"}
        return found

    def call(
        self,
        path: str,
        method: str,
        mode: GenerationMode,
        examples: int,
        *,
        amend: Callable[[Draw, Case], None],
        after: Callable[[schemathesis.Response], None] = lambda _: None,
    ) -> Counter[int]:
        """Call an operation so often and check every answer; returns how often it answered what.

        Args:
            path: of the operation.
            method: of the operation, in lower case.
            mode: whether the requests are of the form that the document allows.
            examples: how many requests.
            amend: puts in what only a test knows.
            after: looks at an answer, beside the checks against the document.
        """
        statuses: Counter[int] = Counter()
        cases = self.schema[path][method].as_strategy(generation_mode=mode)

        @hypothesis.settings(SETTINGS, max_examples=examples)
        @hypothesis.given(case=cases, data=strategies.data())
        def walk(case: Case, data: strategies.DataObject) -> None:
            def draw(strategy: Any) -> Any:
                is_first = not statuses
                drawn = data.draw(strategy)  # always: what is drawn may not depend on what was drawn before
                return True if is_first and strategy is YES_OR_NO else drawn

            amend(draw, case)
            answer = case.call(self.url, session=self.session, timeout=SECONDS_MOST, verify=str(self.ca_file))
            statuses[answer.status_code] += 1
            after(answer)
            case.validate_response(answer, checks=CHECKS)

        walk()
        return statuses


def put_known(draw: Draw, values: object, known: dict[str, list[str]]) -> None:
    """Put something that exists in the place of about half of what is of the right form."""
    if not isinstance(values, dict):
        return
    for name in sorted(set(values) & set(known)):
        fits = isinstance(values[name], str) and 0 < len(values[name]) <= MOST_ID
        if fits and draw(YES_OR_NO):
            values[name] = draw(strategies.sampled_from(known[name]))


def put_real(draw: Draw, case: Case, real: Json) -> None:
    """Make the request one that does not fail, perhaps but for one member of its body."""
    for place in PLACES:
        if place in real:
            generated = getattr(case, place)
            setattr(case, place, real[place])
            if place == "body" and not draw(YES_OR_NO):
                swapped = draw(strategies.sampled_from(sorted(generated) or [""]))
                case.body = {**real[place], swapped: generated[swapped]} if swapped else real[place]


def reached(statuses: Counter[int]) -> bool:
    """Say whether one of the requests did what the operation is for."""
    return any(status < requests.codes.bad_request for status in statuses)
