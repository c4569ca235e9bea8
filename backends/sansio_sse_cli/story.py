"""What a demonstration tells while it goes on, and its verdict at the end."""

import json
import time
from dataclasses import asdict

from sansio_sse import ServerSentEvent

from .terminal import Channel, Paint, duration
from .verdict import Verdict, ranges

__all__ = ["Story"]


class Story:
    """Lines with time and events so far; at the end the verdict.

    Args:
        out: Where the verdict goes.
        err: Where all else goes, if the verdict is to be JSON; None: to ``out``, and it is text.
    """

    def __init__(self, out: Channel, err: Channel | None) -> None:
        self.out: Channel = out
        self.paint: Paint = (err or out).paint
        """Adds colours where the lines go."""
        self.received: list[ServerSentEvent] = []
        """What the client has given out so far."""
        self._told = err or out
        self._json = err is not None
        self._began = time.monotonic()

    def head(self, columns: str = "") -> None:
        """Name the columns."""
        self.remark(f"    time events{columns}", "dim")

    def line(self, who: str, text: str, columns: str = "") -> None:
        """Say what happened."""
        now = self.paint("dim", f"{self.seconds:6.2f} s")
        self._told.say(f"{now} {len(self.received):6}{columns} {who} {text}")

    def remark(self, text: str, style: str) -> None:
        """Say something that needs no time."""
        self._told.say(self.paint(style, text))

    @property
    def seconds(self) -> float:
        """How long it has been going on."""
        return time.monotonic() - self._began

    def verdict(self, verdict: Verdict, circumstances: str, **counts: int) -> None:
        """Say how it ended."""
        if self._json:
            extra = {**counts, "seconds": round(self.seconds, 2), "good": verdict.good}
            self.out.say(json.dumps({**asdict(verdict), **extra}))
            return
        self.remark(f"took {duration(self.seconds)}, {circumstances}", "dim")
        for name in ("lost", "duplicated", "out_of_order", "altered"):
            ids = getattr(verdict, name)
            if ids:
                self.remark(f"{name.replace('_', ' ')}: {ranges(ids)}", "red")
        figures = {
            "sent": verdict.sent,
            "received": verdict.received,
            "lost": len(verdict.lost),
            "duplicated": len(verdict.duplicated),
            **counts,
        }
        text = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in figures.items())
        self.out.say(self.out.paint("green" if verdict.good else "red", f"events {text}"))
