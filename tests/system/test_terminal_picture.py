"""What ``sansio-sse tail`` puts on a terminal, as a picture for the documentation.

An emulator has the screen, and a browser draws it. ``SSE_UPDATE_IMAGES=1`` takes the picture in
docs/images anew; otherwise it has to be there.
"""

import html
import os
import re
from itertools import groupby
from pathlib import Path
from typing import Any

from cli.screen import Terminal, on_screen

from .browser import browser
from .browser_stage import Stage
from .test_page import IMAGES, UPDATING, size_of

COLUMNS, LINES = 92, 20
STYLE = """
body { margin: 0; padding: 26px; background: #e9e9e4; display: inline-block; }
.window { background: #16181b; color: #d7d9dc; border-radius: 11px; padding: 13px 20px 18px;
  box-shadow: 0 10px 34px rgb(0 0 0 / .28); }
.bar { display: flex; gap: 7px; margin: 1px 0 13px -5px; }
.bar i { width: 11px; height: 11px; border-radius: 50%; background: #3c4046; }
pre { margin: 0; font: 14px/1.45 "DejaVu Sans Mono", monospace; }
.green { color: #5ccf9f; } .brown { color: #e6b455; } .red { color: #ff8379; }
.cyan { color: #6cc7e0; } .magenta { color: #d49be8; } .blue { color: #8db7f5; }
b { font-weight: 700; } .prompt { color: #8a8f96; }
"""


def test_tail_is_pictured_as_it_is_on_a_terminal(tmp_path: Path) -> None:
    with Stage() as stage:
        url = stage.playground(seed=4).at("/flaky/5")
        with on_screen("tail", url, columns=COLUMNS, lines=LINES - 1) as (terminal, _):

            def is_told(lines: list[str]) -> object:
                # It has reconnected, events have come since, and the status line is drawn.
                text = "\n".join(lines)
                return re.search(
                    r"retry 1.*\n(.*\n)*connected .*\n(.*\n){4,}connected .*1 recon", text
                )

            lines = terminal.until(is_told)
            picture = as_html(terminal, f"sansio-sse tail {url}")
    assert any("after event" in line for line in lines)
    assert "events/s" in lines[-1]
    if UPDATING:
        take_picture(picture, tmp_path)
    width, height = size_of(IMAGES / "tail.png")
    assert width >= 700
    assert height >= 300


def take_picture(picture: str, folder: Path) -> None:
    page = folder / "terminal.html"
    page.write_text(picture, encoding="utf-8")
    with browser(folder / "driver.log") as opened:
        opened.resize(1000, 600, scale=1.5)
        opened.open(page.as_uri())
        opened.find("body").screenshot(os.fspath(IMAGES / "tail.png"))


def as_html(terminal: Terminal, command: str) -> str:
    """Return a page that looks as the screen does."""
    rows = [f'<span class="prompt">$</span> {html.escape(command)}']
    for number in range(len(terminal.shown)):
        line = terminal.screen.buffer[number]
        cells = [line[column] for column in range(COLUMNS)]
        rows.append("".join(_run(style, run) for style, run in groupby(cells, _style)).rstrip())
    body = "\n".join(rows)
    dots = '<div class="bar"><i></i><i></i><i></i></div>'
    return (
        f'<!doctype html><meta charset="utf-8"><style>{STYLE}</style>'
        f'<div class="window">{dots}<pre>{body}</pre></div>'
    )


def _style(cell: Any) -> tuple[str, bool]:
    return cell.fg, cell.bold


def _run(style: tuple[str, bool], cells: Any) -> str:
    text = html.escape("".join(cell.data for cell in cells))
    color, bold = style
    if color != "default":
        text = f'<span class="{color}">{text}</span>'
    return f"<b>{text}</b>" if bold else text
