"""The epochs as a drawing (SVG): for each way of training, when each point was reached."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape

from .report import EPOCHS, seconds
from .results import Part

TITLE = "Seconds from the start until the first batch, and until the end of epochs one and two"

_COLOURS = ("#4269d0", "#efb118", "#d03a2f")
_INK, _PALE = "#1f2328", "#d0d7de"
_LEFT, _RIGHT, _WIDTH = 200, 40, 800
_TOP, _ROW = 84, 46
_FONT = "font-family='system-ui, sans-serif'"


def epochs(part: Part) -> str:
    """A row for each system, a dot for each point's median over the rounds;
    the scale is logarithmic.
    """
    rows = {system: _medians(part, system) for system in part.systems()}
    values = [value for row in rows.values() for value in row]
    low, high = math.floor(_log(min(values))), math.ceil(_log(max(values)))
    height = _TOP + _ROW * len(rows) + 34

    def across(value: float) -> float:
        share = (_log(value) - low) / max(1, high - low)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    lines = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} "
        f"{height}' {_FONT} font-size='13'>",
        f"<title>{TITLE}</title>",
        f"<rect width='{_WIDTH}' height='{height}' fill='#ffffff'/>",
        _text(16, 26, TITLE, weight="bold"),
        *_legend(),
    ]
    for power in range(low, high + 1):
        x, bottom = across(10.0**power), height - 34
        lines.append(_line(x, _TOP - 8, x, bottom, _PALE, 1))
        lines.append(_text(x, bottom + 18, f"{10.0**power:g} s", anchor="middle"))
    for number, (system, row) in enumerate(rows.items()):
        y = _TOP + _ROW * number + _ROW / 2
        lines.append(_text(_LEFT - 14, y + 4, system, anchor="end"))
        lines.append(_line(across(row[0]), y, across(row[-1]), y, _PALE, 4))
        lines += [_dot(across(v), y, c) for v, c in zip(row, _COLOURS, strict=True)]
        lines.append(_text(across(row[-1]), y - 10, seconds(row[-1]), anchor="middle"))
    return "\n".join([*lines, "</svg>"]) + "\n"


def _medians(part: Part, system: str) -> list[float]:
    spreads = (part.spread(system, column.metric) for column in EPOCHS)
    return [spread.median for spread in spreads if spread is not None]


def _legend() -> Iterator[str]:
    for number, (column, colour) in enumerate(zip(EPOCHS, _COLOURS, strict=True)):
        x = 24 + 190 * number
        yield _dot(x, 52, colour)
        yield _text(x + 12, 56, column.title)


def _log(value: float) -> float:
    return math.log10(max(value, 1e-3))


def _dot(x: float, y: float, colour: str) -> str:
    return f"<circle cx='{x:.1f}' cy='{y:.1f}' r='6' fill='{colour}'/>"


def _line(x: float, y: float, to_x: float, to_y: float, colour: str, width: int) -> str:
    ends = f"x1='{x:.1f}' y1='{y:.1f}' x2='{to_x:.1f}' y2='{to_y:.1f}'"
    return f"<line {ends} stroke='{colour}' stroke-width='{width}'/>"


def _text(x: float, y: float, text: str, anchor: str = "start", weight: str = "normal") -> str:
    style = f"text-anchor='{anchor}' font-weight='{weight}' fill='{_INK}'"
    return f"<text x='{x:.1f}' y='{y:.1f}' {style}>{escape(text)}</text>"
