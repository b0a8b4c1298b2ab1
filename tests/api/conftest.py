"""The stage of tests/journeys, a phone for each module, and a transaction for each test."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from tests.api.probe import Probe
from tests.counterparts.phone import Phone
from tests.journeys.stage import DATABASES, Stage, stage_of


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a module that says ``ONE_DATABASE`` on one of them: how a request or a row is read depends on none."""
    if "stage" in metafunc.fixturenames:
        one = getattr(metafunc.module, "ONE_DATABASE", False)
        metafunc.parametrize("stage", DATABASES[-1:] if one else DATABASES, indirect=True, scope="session")


@pytest.fixture(scope="session")
def stage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, new_token: Callable[[], str]
) -> Stage:
    """A running gateway."""
    return stage_of(request.config, request.param, lambda: tmp_path_factory.mktemp("stage"), new_token)


@pytest.fixture(scope="module")
def phone(stage: Stage) -> Phone:
    """A registered phone, shared by the tests of a module."""
    return stage.phone()


@pytest.fixture
def probe(stage: Stage, phone: Phone, monkeypatch: pytest.MonkeyPatch) -> Probe:
    """A fresh transaction on that phone, and what tests ask about it.

    The phone's clock stands still: what a test puts together from two looks at it is of one step.
    """
    moment = datetime.now(UTC)
    monkeypatch.setattr(phone, "clock", lambda: moment)
    return Probe(stage, phone, stage.ask(phone))
