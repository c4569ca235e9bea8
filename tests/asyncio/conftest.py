"""The fixtures of the contract suite, for the drivers that run on an asyncio loop."""

from collections.abc import Callable

import pytest

from contract.driver_asyncio import DRIVERS
from contract.face import Face
from contract.fixtures import *  # noqa: F403 - a conftest is where pytest looks for them


@pytest.fixture(params=DRIVERS, ids=lambda driver: driver().name)
def sse(request: pytest.FixtureRequest) -> Face:
    """The loop under test."""
    driver: Callable[[], Face] = request.param
    return driver()
