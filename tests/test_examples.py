"""The examples of the documentation run, and the page that explains one quotes all of it."""

import ast
import re
import select
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from contract.server import Peer, Seen, Server
from examples import CUT_ONCE, EXAMPLES, TICKS, run_example
from tree import ROOT, module_at

PAGE = (ROOT / "docs" / "howto" / "own-loop.md").read_text(encoding="utf-8")
LOOPS = ["selectors_loop.py", "twisted_reactor.py"]


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_resumes_a_stream_that_was_cut(name: str) -> None:
    with Server(CUT_ONCE) as server:
        run = run_example(name, server.url)
        assert (run.returncode, run.stderr, run.stdout) == (0, "", TICKS)
        cursors = [request.header("last-event-id") for request in server.requests]
        assert cursors == [None, "3", "6"]


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_ends_with_what_ended_the_stream(name: str) -> None:
    with Server() as server:  # it has nothing: 404
        run = run_example(name, server.url)
    assert run.returncode == 1
    assert run.stdout == ""
    assert "HTTPStatusError" in run.stderr


def bare_loop() -> Any:
    """The module, to look inside of it."""
    return module_at(EXAMPLES / "selectors_loop.py")


def test_the_bare_loop_lets_go_of_its_sockets_when_nobody_iterates_any_more() -> None:
    def script(peer: Peer, _seen: Seen) -> None:
        peer.stream()
        peer.event("one")
        peer.stall()

    with Server(script) as server:
        stream = bare_loop().EventStream(server.url)
        events = iter(stream)
        assert next(events).data == "one"
        assert len(stream.sockets) == 1
        events.close()
        assert stream.sockets == {}
        assert stream.selector.get_map() is None


def test_the_bare_loop_does_not_take_a_slow_reader_for_a_silent_server() -> None:
    reading = threading.Event()

    def script(peer: Peer, _seen: Seen) -> None:
        peer.stream()
        peer.event("one")
        peer.wait(reading)
        peer.event("two")
        peer.stall()

    late = 0.0
    module = bare_loop()
    module.time = SimpleNamespace(monotonic=lambda: time.monotonic() + late)
    with Server(script) as server:
        stream = module.EventStream(server.url)
        events = iter(stream)
        assert next(events).data == "one"
        reading.set()
        late = 1000.0  # what the reader takes over it
        assert select.select(stream.sockets.values(), [], [], 20)[0]
        assert next(events).data == "two"
        events.close()
        assert len(server.requests) == 1


def test_without_a_loop_a_capture_tells_what_the_page_says() -> None:
    run = run_example("no_loop.py")
    assert (run.returncode, run.stderr) == (0, "")
    assert f"$ python no_loop.py\n{run.stdout}```" in PAGE


def test_the_page_explains_every_method_of_the_bare_loop() -> None:
    tree = ast.parse((EXAMPLES / "selectors_loop.py").read_text(encoding="utf-8"))
    methods = [
        f"{node.name}.{member.name}"
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        for member in node.body
        if isinstance(member, ast.FunctionDef)
    ]
    quoted = re.findall(r"literalinclude} \.\./examples/selectors_loop\.py\n:pyobject: (\S+)", PAGE)
    assert quoted == methods
