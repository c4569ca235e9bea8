"""What the pictures of the documentation are made of."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape


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


def write_or_check(arguments: list[str], path: Path, drawn: str, script: str) -> int:
    """Write the picture, or with ``--check`` say whether the committed one is stale."""
    if arguments == ["--check"]:
        if not path.exists() or path.read_text(encoding="utf-8") != drawn:
            print(f"docs/images/{path.name} is stale: run python {script}")
            return 1
    elif arguments:
        print(f"usage: python {script} [--check]")
        return 2
    else:
        path.parent.mkdir(exist_ok=True)
        path.write_text(drawn, encoding="utf-8", newline="\n")
    return 0
