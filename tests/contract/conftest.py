"""The contract suite's fixtures."""

from .fixtures import *  # noqa: F403 - a conftest is where pytest looks for them
