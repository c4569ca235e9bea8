"""The example of the how-to runs, by itself and against an agent elsewhere."""

import pytest
from ag_ui.core import RunErrorEvent

from contract.server import Server
from examples import run_example

from .support import STARTED, agent

pytestmark = pytest.mark.timeout(60)

SAID = """\
thermometer({"unit": "celsius"})
It has 21 degrees in here.
state: {'looked': 1}
"""


def test_the_example_talks_to_an_agent_of_its_own() -> None:
    example = run_example("agui_client.py")
    assert (example.returncode, example.stderr, example.stdout) == (0, "", SAID)


def test_the_example_ends_with_the_failure_of_another_agent() -> None:
    with Server(agent(STARTED, RunErrorEvent(message="no more tokens"))) as server:
        example = run_example("agui_client.py", server.url)
    assert example.returncode == 1
    assert example.stderr == "the agent has failed: no more tokens\n"
