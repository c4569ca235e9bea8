"""The example runs on a real Qt, without a screen."""

from contract.server import Server
from examples import CUT_ONCE, TICKS, run_example


def test_a_window_resumes_a_stream_that_was_cut() -> None:
    with Server(CUT_ONCE) as server:
        run = run_example("qt_event_loop.py", server.url, QT_QPA_PLATFORM="offscreen")
        assert (run.returncode, run.stdout) == (0, TICKS), run.stderr
        assert "Traceback" not in run.stderr  # what a slot raises is only printed
        cursors = [request.header("last-event-id") for request in server.requests]
        assert cursors == [None, "3", "6"]
