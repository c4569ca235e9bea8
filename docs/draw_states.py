"""Draw docs/images/states.svg from the table of transitions; with --check, say if it is stale.

Which arrows there are and what is written on them comes from the table. Where the boxes stand is
decided here: what is alive in a column in the middle, what has stopped to its left and right, and,
because everything can be closed, the end below a frame around all the rest.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from drawing import Box, arrow, picture, state_box, text, write_or_check

from sansio_sse.states import TRANSITIONS, ConnectionState

PICTURE = Path(__file__).parent / "images" / "states.svg"

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


def main(arguments: list[str]) -> int:
    return write_or_check(arguments, PICTURE, draw(), "docs/draw_states.py")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
