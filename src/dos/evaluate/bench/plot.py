"""Plots as inline SVG: no script, no font and no file from anywhere else.

Colours are CSS variables of the page (`--c0`, `--c1`, …), so that they follow its light or dark
scheme. Every plot has a title for those who do not see it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from dos.evaluate.bench.resample import Estimate

_LABEL, _PLOT, _ROW, _TOP, _BOTTOM = 190.0, 460.0, 9.0, 26.0, 30.0
_SIDE, _PAD = 300.0, 44.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One row of a forest plot: an estimate for each contender, in their order."""

    label: str
    estimates: tuple[Estimate, ...]


def forest(title: str, lines: Sequence[Line], names: Sequence[str]) -> str:
    """Shares from 0 to 1 with their intervals, one row per line, one colour per contender."""
    band = _ROW * len(names) + 8.0
    height = _TOP + band * len(lines) + _BOTTOM
    parts = [_grid(height)]
    for place, line in enumerate(lines):
        top = _TOP + place * band
        middle = top + band / 2
        parts.append(f'<text x="{_LABEL - 8:g}" y="{middle + 4:.1f}" text-anchor="end">'
                     f"{escape(line.label)}</text>")  # fmt: skip
        for number, estimate in enumerate(line.estimates):
            parts.append(_whisker(estimate, top + 8.0 + number * _ROW, number))
    return _svg(title, _LABEL + _PLOT + 20, height, [*parts, _legend(names)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Points to be joined by steps; x ascending."""

    name: str
    points: tuple[tuple[float, float], ...]
    """x in its unit and y from 0 to 1."""


def curves(title: str, lines: Sequence[Curve], *, most: float, unit: str) -> str:
    """Step curves of shares over `0` to `most`."""
    width, height = _LABEL + _PLOT + 20, 260.0
    parts = [_frame(width, height)]
    for tick in range(6):
        x = _x(tick / 5, width)
        parts.append(f'<text x="{x:.1f}" y="{height - 24:.1f}" text-anchor="middle">'
                     f"{most * tick / 5:g}{escape(unit)}</text>")  # fmt: skip
        y = _y(tick / 5, height)
        parts.append(f'<text x="{_PAD - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">'
                     f"{tick / 5:.1f}</text>")  # fmt: skip
    for number, line in enumerate(lines):
        path, level = [f"M{_x(0, width):.1f},{_y(0, height):.1f}"], 0.0
        for x, share in line.points:
            if x > most:
                break
            path += [f"H{_x(x / most, width):.1f}", f"V{_y(share, height):.1f}"]
            level = share
        path += [f"V{_y(level, height):.1f}", f"H{_x(1, width):.1f}"]
        parts.append(f'<path class="line" d="{"".join(path)}" style="stroke:var(--c{number})"/>')
    return _svg(title, width, height, [*parts, _legend([line.name for line in lines])])


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A point of a reliability diagram."""

    given: float
    right: float
    count: int


def reliability(title: str, dots: Sequence[Dot]) -> str:
    """Probability given against share that came true; on the diagonal they agree."""
    width, height = _SIDE + 40, _SIDE
    parts = [_frame(width, height)]
    ends = [(_x(share, width), _y(share, height)) for share in (0.0, 1.0)]
    (x1, y1), (x2, y2) = ends
    parts.append(f'<line class="rule" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>')
    for share in (0.0, 0.5, 1.0):
        x, y = _x(share, width), _y(share, height)
        parts.append(f'<text x="{x:.1f}" y="{height - 24:.1f}" text-anchor="middle">'
                     f"{share:g}</text>")  # fmt: skip
        parts.append(f'<text x="{_PAD - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">'
                     f"{share:g}</text>")  # fmt: skip
    total = sum(dot.count for dot in dots) or 1
    for dot in dots:
        radius = 3.0 + 14.0 * (dot.count / total) ** 0.5
        parts.append(
            f'<circle cx="{_x(dot.given, width):.1f}" cy="{_y(dot.right, height):.1f}" '
            f'r="{radius:.1f}" style="fill:var(--c0)"><title>{dot.count} incidents: '
            f"{dot.given:.2f} given, {dot.right:.2f} right</title></circle>"
        )
    parts.append(f'<text x="{width / 2:.1f}" y="{height - 8:.1f}" text-anchor="middle">'
                 "probability given</text>")  # fmt: skip
    return _svg(title, width, height, parts)


def _svg(title: str, width: float, height: float, parts: Sequence[str]) -> str:
    name = escape(title)
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" width="{width:g}" role="img" '
        f'aria-label="{name}"><title>{name}</title>{"".join(parts)}</svg>'
    )


def _grid(height: float) -> str:
    parts = []
    for tick in range(6):
        x = _LABEL + _PLOT * tick / 5
        parts.append(f'<line class="grid" x1="{x:g}" y1="{_TOP:g}" x2="{x:g}" '
                     f'y2="{height - _BOTTOM:g}"/><text x="{x:g}" y="{height - 10:g}" '
                     f'text-anchor="middle">{tick / 5:.1f}</text>')  # fmt: skip
    return "".join(parts)


def _whisker(estimate: Estimate, y: float, number: int) -> str:
    if estimate.value is None:
        return ""
    x = _LABEL + _PLOT * estimate.value
    dot = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" style="fill:var(--c{number})"/>'
    if estimate.low is None or estimate.high is None:
        return dot
    low, high = _LABEL + _PLOT * estimate.low, _LABEL + _PLOT * estimate.high
    return (
        f'<line class="whisker" x1="{low:.1f}" y1="{y:.1f}" x2="{high:.1f}" y2="{y:.1f}" '
        f'style="stroke:var(--c{number})"/>{dot}'
    )


def _frame(width: float, height: float) -> str:
    x, y = _x(0, width), _y(1, height)
    return (
        f'<rect class="frame" x="{x:.1f}" y="{y:.1f}" width="{_x(1, width) - x:.1f}" '
        f'height="{_y(0, height) - y:.1f}"/>'
    )


def _x(share: float, width: float) -> float:
    return _PAD + share * (width - _PAD - 16)


def _y(share: float, height: float) -> float:
    return height - 42 - share * (height - 42 - _TOP)


def _legend(names: Sequence[str]) -> str:
    parts, x = [], _PAD
    for number, name in enumerate(names):
        parts.append(f'<circle cx="{x:g}" cy="11" r="4" style="fill:var(--c{number})"/>'
                     f'<text x="{x + 9:g}" y="15">{escape(name)}</text>')  # fmt: skip
        x += 34 + 7.2 * len(name)
    return "".join(parts)
