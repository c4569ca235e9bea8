"""Draw docs/images/members.svg from the table of a member's life; with --check, say if it is stale.

Which arrows there are and what is written on them comes from the table. Where the boxes stand, and
on which way an arrow goes, is decided here.
"""

import sys
from pathlib import Path

from drawing import Box, arrow, picture, state_box, text, write_or_check

from sansio_sse.members import MEMBER_TRANSITIONS, MemberState

PICTURE = Path(__file__).parent / "images" / "members.svg"

WIDTH, HEIGHT = 960, 470

S = MemberState

BOXES = {
    S.CONNECTING: Box(60, 60, 170, 60, "#fef3c7", "#d97706"),
    S.IDLE: Box(395, 60, 170, 60, "#dbeafe", "#2563eb"),
    S.LEASED: Box(730, 60, 170, 60, "#dcfce7", "#16a34a"),
    S.FAILED: Box(730, 230, 170, 60, "#fee2e2", "#dc2626"),
    S.CLOSED: Box(395, 380, 170, 60, "#e5e7eb", "#111827"),
}

# The way of each arrow, and where its words begin, end or are centred.
WAYS = {
    (S.CONNECTING, S.IDLE): ("M230 80H395", (312, 73, "middle")),
    (S.IDLE, S.CONNECTING): ("M395 102H230", (312, 119, "middle")),
    (S.IDLE, S.LEASED): ("M565 80H730", (647, 73, "middle")),
    (S.LEASED, S.IDLE): ("M730 102H565", (647, 119, "middle")),
    (S.CONNECTING, S.LEASED): ("M145 60C145 10 815 10 815 60", (480, 16, "middle")),
    (S.LEASED, S.CONNECTING): ("M760 120C720 190 240 190 200 120", (370, 190, "middle")),
    (S.LEASED, S.FAILED): ("M830 120V230", (840, 180, "start")),
    (S.CONNECTING, S.CLOSED): ("M145 120C145 300 300 400 395 410", (190, 330, "end")),
    (S.IDLE, S.CLOSED): ("M480 120V380", (472, 290, "end")),
    (S.FAILED, S.CLOSED): ("M815 290C815 380 680 420 565 420", (775, 390, "start")),
    (S.LEASED, S.CLOSED): ("M745 120C700 300 640 390 565 395", (660, 300, "end")),
}


def draw() -> str:
    """Return the picture, and raise if there is a transition for which there is no place."""
    parts = [state_box(box, state.name) for state, box in BOXES.items()]
    for old, targets in MEMBER_TRANSITIONS.items():
        for new, reason in targets.items():
            if (old, new) not in WAYS:
                raise NotImplementedError(f"there is no place yet for {old.name} -> {new.name}")
            way, (x, y, anchor) = WAYS[old, new]
            parts += [arrow(way), text(x, y, reason, anchor=anchor)]
    what = "The states of a pool's member and the transitions between them"
    return picture(WIDTH, HEIGHT, what, parts)


def main(arguments: list[str]) -> int:
    return write_or_check(arguments, PICTURE, draw(), "docs/draw_members.py")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
