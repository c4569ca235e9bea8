"""Draw docs/images/states.svg and members.svg from their tables; with --check, say what is stale.

Which arrows there are and what is written on them comes from the table. Where the boxes stand is
decided here: what is alive in a column in the middle, what has stopped to its left and right, and,
because everything can be closed, the end below a frame around all the rest.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

from sansio_sse.members import MEMBER_TRANSITIONS, MemberState
from sansio_sse.states import TRANSITIONS, ConnectionState

PICTURE = Path(__file__).parent / "images" / "states.svg"
MEMBERS_PICTURE = PICTURE.with_name("members.svg")


class Box(NamedTuple):
    x: int
    y: int
    width: int
    height: int
    fill: str
    edge: str

    @property
    def middle(self) -> int:
        return self.x + self.width // 2

    @property
    def right(self) -> int:
        return self.x + self.width

    @property
    def bottom(self) -> int:
        return self.y + self.height


def text(x: int, y: int, words: str, kind: str = "label", anchor: str = "middle") -> str:
    return f'<text class="{kind}" x="{x}" y="{y}" text-anchor="{anchor}">{escape(words)}</text>'


def arrow(path: str) -> str:
    return f'<path class="arrow" d="{path}"/>'


def state_box(box: Box, name: str) -> str:
    return (
        f'<rect x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}"'
        f' rx="10" fill="{box.fill}" stroke="{box.edge}" stroke-width="2"/>\n'
        + text(box.middle, box.y + box.height // 2 + 5, name, "state")
    )


def picture(width: int, height: int, what: str, parts: Sequence[str]) -> str:
    """Put the parts on a white sheet; ``what`` is what a person is told who cannot see it."""
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"'
        f' aria-label="{what}">',
        "<style>"
        "text{font-family:ui-sans-serif,system-ui,'Segoe UI',Helvetica,Arial,sans-serif}"
        ".state{font-size:15px;font-weight:600;fill:#111827}"
        ".label{font-size:13px;fill:#374151}"
        ".note{font-size:13px;fill:#6b7280}"
        ".arrow{fill:none;stroke:#4b5563;stroke-width:1.5;marker-end:url(#head)}"
        "</style>",
        '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8"'
        ' markerHeight="8" orient="auto"><path d="M0 1L9 5L0 9z" fill="#4b5563"/></marker></defs>',
        f'<rect width="{width}" height="{height}" rx="12" fill="#ffffff"/>',
    ]
    return "\n".join([*head, *parts, "</svg>\n"])


# --- The states of a connection -------------------------------------------------------------------

WIDTH, HEIGHT = 960, 600
GAP = 11  # between the two arrows of a pair, and the axis they share

S = ConnectionState


BOXES = {
    S.DISCONNECTED: Box(48, 64, 150, 352, "#f3f4f6", "#6b7280"),
    S.CONNECTING: Box(390, 64, 180, 56, "#dbeafe", "#2563eb"),
    S.CONNECTED: Box(390, 212, 180, 56, "#dcfce7", "#16a34a"),
    S.RECONNECTING: Box(390, 360, 180, 56, "#fef3c7", "#d97706"),
    S.ERROR: Box(762, 64, 150, 352, "#fee2e2", "#dc2626"),
    S.CLOSED: Box(390, 520, 180, 52, "#e5e7eb", "#111827"),
}
FRAME = Box(24, 40, 912, 400, "none", "#9ca3af")
ALIVE = [S.CONNECTING, S.CONNECTED, S.RECONNECTING]  # from top to bottom


def is_pair(old: ConnectionState, new: ConnectionState) -> bool:
    return old in TRANSITIONS[new]


def sideways(old: ConnectionState, new: ConnectionState, reason: str) -> Iterator[str]:
    """Between the column and a box beside it: a level line, the one to the right above its twin."""
    left, right = sorted((BOXES[old], BOXES[new]))
    row = BOXES[old if old in ALIVE else new]
    y = row.y + row.height // 2
    if is_pair(old, new):
        y += -GAP if BOXES[old] == left else GAP
    start, end = (left.right, right.x) if BOXES[old] == left else (right.x, left.right)
    yield arrow(f"M{start} {y}H{end}")
    below = is_pair(old, new) and BOXES[old] == right
    yield text((left.right + right.x) // 2, y + (16 if below else -7), reason)


def downwards(old: ConnectionState, new: ConnectionState, reason: str) -> Iterator[str]:
    """Between neighbours in the column: an upright line, the one going down left of its twin."""
    upper, lower = sorted((BOXES[old], BOXES[new]), key=lambda box: box.y)
    down = BOXES[old] == upper
    x = upper.middle + ((-2 * GAP if down else 2 * GAP) if is_pair(old, new) else 0)
    start, end = (upper.bottom, lower.y) if down else (lower.y, upper.bottom)
    yield arrow(f"M{x} {start}V{end}")
    y = (upper.bottom + lower.y) // 2 + 5
    yield text(x + (-9 if down else 9), y, reason, anchor="end" if down else "start")


def around(old: ConnectionState, new: ConnectionState, reason: str) -> Iterator[str]:
    """Past the neighbour in the column: a bow on its right."""
    upper, lower = BOXES[old], BOXES[new]
    x, bow = upper.right - 14, upper.right + 50
    top, bottom = upper.bottom, lower.y
    yield arrow(f"M{x} {top}C{bow} {top + 50} {bow} {bottom - 50} {x} {bottom}")
    yield text(bow - 10, top + 56, reason, anchor="start")


def to_the_end() -> Iterator[str]:
    """One arrow out of the frame, with the reasons and, where they differ, the states."""
    reasons: dict[str, list[ConnectionState]] = {}
    for old, targets in TRANSITIONS.items():
        if old is not S.CLOSED:
            reasons.setdefault(targets[S.CLOSED], []).append(old)
    box = BOXES[S.CLOSED]
    yield arrow(f"M{box.middle} {FRAME.bottom}V{box.y}")
    for number, (reason, states) in enumerate(reasons.items()):
        y = FRAME.bottom + 26 + 20 * number
        yield text(box.middle - 14, y, reason, anchor="end")
        yield text(box.middle + 14, y, "from " + ", ".join(states), "note", "start")


def draw() -> str:
    """Return the picture, and raise if there is a transition for which there is no place."""
    parts = [
        f'<rect x="{FRAME.x}" y="{FRAME.y}" width="{FRAME.width}" height="{FRAME.height}"'
        f' rx="16" fill="none" stroke="{FRAME.edge}" stroke-dasharray="5 5"/>'
    ]
    for state in ConnectionState:
        parts.append(state_box(BOXES[state], state.name))
    for old, targets in TRANSITIONS.items():
        for new, reason in targets.items():
            if new is S.CLOSED:
                continue  # drawn once, for all
            if (old in ALIVE) != (new in ALIVE):
                parts.extend(sideways(old, new, reason))
            elif old in ALIVE and abs(ALIVE.index(old) - ALIVE.index(new)) == 1:
                parts.extend(downwards(old, new, reason))
            elif (old, new) == (S.CONNECTING, S.RECONNECTING):
                parts.extend(around(old, new, reason))
            else:
                raise NotImplementedError(f"there is no place yet for {old.name} -> {new.name}")
    parts.extend(to_the_end())
    what = "The states of a connection and the transitions between them"
    return picture(WIDTH, HEIGHT, what, parts)


# --- The states of a pool's member ----------------------------------------------------------------

M = MemberState

MEMBER_BOXES = {
    M.CONNECTING: Box(60, 60, 170, 60, "#fef3c7", "#d97706"),
    M.IDLE: Box(395, 60, 170, 60, "#dbeafe", "#2563eb"),
    M.LEASED: Box(730, 60, 170, 60, "#dcfce7", "#16a34a"),
    M.FAILED: Box(730, 230, 170, 60, "#fee2e2", "#dc2626"),
    M.CLOSED: Box(395, 380, 170, 60, "#e5e7eb", "#111827"),
}

# The way of each arrow, and where its words begin, end or are centred.
MEMBER_WAYS = {
    (M.CONNECTING, M.IDLE): ("M230 80H395", (312, 73, "middle")),
    (M.IDLE, M.CONNECTING): ("M395 102H230", (312, 119, "middle")),
    (M.IDLE, M.LEASED): ("M565 80H730", (647, 73, "middle")),
    (M.LEASED, M.IDLE): ("M730 102H565", (647, 119, "middle")),
    (M.CONNECTING, M.LEASED): ("M145 60C145 10 815 10 815 60", (480, 16, "middle")),
    (M.LEASED, M.CONNECTING): ("M760 120C720 190 240 190 200 120", (370, 190, "middle")),
    (M.LEASED, M.FAILED): ("M830 120V230", (840, 180, "start")),
    (M.CONNECTING, M.CLOSED): ("M145 120C145 300 300 400 395 410", (190, 330, "end")),
    (M.IDLE, M.CLOSED): ("M480 120V380", (472, 290, "end")),
    (M.FAILED, M.CLOSED): ("M815 290C815 380 680 420 565 420", (775, 390, "start")),
    (M.LEASED, M.CLOSED): ("M745 120C700 300 640 390 565 395", (660, 300, "end")),
}


def draw_members() -> str:
    """Return the picture, and raise if there is a transition for which there is no place."""
    parts = [state_box(box, state.name) for state, box in MEMBER_BOXES.items()]
    for old, targets in MEMBER_TRANSITIONS.items():
        for new, reason in targets.items():
            if (old, new) not in MEMBER_WAYS:
                raise NotImplementedError(f"there is no place yet for {old.name} -> {new.name}")
            way, (x, y, anchor) = MEMBER_WAYS[old, new]
            parts += [arrow(way), text(x, y, reason, anchor=anchor)]
    what = "The states of a pool's member and the transitions between them"
    return picture(960, 470, what, parts)


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        print("usage: python docs/draw_states.py [--check]")
        return 2
    stale = 0
    for path, drawn in ((PICTURE, draw()), (MEMBERS_PICTURE, draw_members())):
        if not arguments:
            path.parent.mkdir(exist_ok=True)
            path.write_text(drawn, encoding="utf-8", newline="\n")
        elif not path.exists() or path.read_text(encoding="utf-8") != drawn:
            print(f"docs/images/{path.name} is stale: run python docs/draw_states.py")
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
