"""The loop over lines: template, then parameters, one line after the other."""

from __future__ import annotations

from dos.detect.logs.mining import FREE, Lines, Mined, Store, mine
from dos.detect.logs.parameters import Slots, observe
from dos.detect.logs.tokens import Line
from dos.kit.compiled import compiled

ODD = 40
"""Bytes of a strange value that are kept to show it."""


@compiled
def take(
    store: Store, slots: Slots, line: Line, lines: Lines, mined: Mined, span: tuple[int, int]
) -> int:
    """Take in lines.

    Args:
        store: The templates; changed in place.
        slots: What is known of their parameters; changed in place.
        line: Scratch space.
        lines: What to take in.
        mined: Filled in.
        span: First line to look at, and the most templates that an entity may have.

    Returns:
        The line to go on with: the number of lines when all are done, an earlier one when there is
        no free row for it or no room for merges. Make room and call again.
    """
    first, most = span
    for i in range(first, len(lines.entity)):
        room = store.cell[FREE] >= 0 or store.templates[lines.entity[i]] >= most
        if not room or mined.merges[0] + most > len(mined.absorbed):
            return i
        row = mine(store, line, lines, i, most, mined)
        mined.serial[i] = store.serial[row]
        strange = observe(slots, store, line, row)
        if strange >= 0:
            if store.strange[row] == 0.0:
                _keep(store, line, lines, i, row, strange)
            store.strange[row] += 1.0
    return len(lines.entity)


@compiled
def _keep(store: Store, line: Line, lines: Lines, i: int, row: int, position: int) -> None:
    """Remember a strange value, to show it."""
    start = lines.offset[i] + line.start[position]
    size = min(line.stop[position] - line.start[position], ODD)
    for k in range(ODD):
        store.odd[row, k] = lines.data[start + k] if k < size else 0
