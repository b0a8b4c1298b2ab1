"""The stage of tests/journeys, on one database: whether a door keeps to its document depends on none."""

from collections.abc import Callable

import pytest

from tests.journeys.stage import DATABASES, Stage, stage_of


@pytest.fixture(scope="session")
def stage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, new_token: Callable[[], str]
) -> Stage:
    """A running gateway."""
    return stage_of(request.config, DATABASES[-1], lambda: tmp_path_factory.mktemp("stage"), new_token)
