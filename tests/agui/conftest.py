"""The contract suite's fixtures."""

from contract.fixtures import *  # noqa: F403 - a conftest is where pytest looks for them
