"""The stage, once for each database."""

from collections.abc import Callable

import pytest

from tests.journeys.stage import DATABASES, Stage, stage_of


@pytest.fixture(scope="session", params=DATABASES)
def stage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, new_token: Callable[[], str]
) -> Stage:
    """A running gateway."""
    return stage_of(request.config, request.param, lambda: tmp_path_factory.mktemp("stage"), new_token)
