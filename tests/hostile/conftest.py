"""The fixtures of the contract suite, for one driver: what is tested here is the core behind all of them."""

from typing import TYPE_CHECKING

import pytest

from contract.driver_asyncio import Asyncio
from contract.fixtures import *  # noqa: F403 - a conftest is where pytest looks for them

if TYPE_CHECKING:
    from contract.face import Face


@pytest.fixture
def sse() -> "Face":
    return Asyncio()
