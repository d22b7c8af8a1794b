"""What is usual for the variable parts of a template: few known words, or a range of numbers.

Each variable token of a template has a slot. While it takes few values (status codes, states,
hosts) they are remembered, and one that is new or rare among them is strange. Once there are more,
it is judged as a number, if it is one: on the scale of asinh, which is linear around 0 and
logarithmic far from it, by its distance from a robust running center in robust spreads. Beyond
what limit it is strange the slot learns itself: `MARGIN` times the 99.9 % quantile of its own
distances (stochastic approximation: Robbins & Monro, "A stochastic approximation method", 1951).

A single strange value means little where there are thousands a second; `rates.py` judges how many
there are. What is strange hardly moves what is usual.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dos.detect.logs.mining import Store
from dos.detect.logs.tokens import MASK, Line, UInt64Array
from dos.kit.compiled import compiled
from dos.model.telemetry import Float64Array, Int64Array

Int8Array = npt.NDArray[np.int8]

PARAMETERS = 8
"""Variable tokens of a template that are looked into: the first ones."""
WORDS = 8
"""Distinct values of a slot that are remembered; with more it is not a choice of few."""
ENOUGH = 100
"""Values from which on a slot knows what is usual."""
LEAST = 6.0
"""Spreads from the center that a strange number is away at least."""
RARE = 0.01
"""Share of the values below which one of few is strange."""
MARGIN = 1.5
"""Times its own tail quantile."""
_TAIL = 0.999
_RATE = 0.15
_FLOOR = 0.05
"""Least spread: about 5 % of a large number."""
_MEMORY = 0.002
"""Least weight of a new number in center and spread."""


class Slots(NamedTuple):
    """What is known of the variable tokens of templates, `[row, slot]`."""

    of: Int64Array
    """`[row]` serial number of the template it is known of."""
    position: Int8Array
    """Token that the slot is about, -1 for none."""
    seen: Int64Array
    """Values; below 0 once there were too many distinct ones to remember."""
    numbers: Int64Array
    center: Float64Array
    spread: Float64Array
    tail: Float64Array
    """Of numbers, on the scale of asinh."""
    word: UInt64Array
    """`[row, slot · WORDS]` hashes of the values, 0 for none."""
    times: Int64Array
    """`[row, slot · WORDS]` how often each came."""


@compiled
def observe(slots: Slots, store: Store, line: Line, row: int) -> int:
    """Judge and learn the variable tokens of a line, whose template is `row`.

    Returns:
        The first token that is strange, -1 for none.
    """
    if slots.of[row] != store.serial[row]:
        _clear(slots, row, store.serial[row])
    strange = -1
    for position in range(store.size[row]):
        if store.token[row, position] > MASK:
            continue
        slot = _slot(slots, row, position)
        if slot < 0:
            break
        odd = _judge(slots, row, slot, line.word[position], line.value[position])
        if odd and strange < 0:
            strange = position
    return strange


@compiled
def _clear(slots: Slots, row: int, serial: int) -> None:
    slots.of[row] = serial
    slots.position[row, :] = -1
    slots.seen[row, :] = 0
    slots.numbers[row, :] = 0
    slots.word[row, :] = np.uint64(0)
    slots.times[row, :] = 0


@compiled
def _slot(slots: Slots, row: int, position: int) -> int:
    """The slot of a token, made where there is room; -1 where there is none."""
    for slot in range(PARAMETERS):
        if slots.position[row, slot] == position:
            return slot
        if slots.position[row, slot] < 0:
            slots.position[row, slot] = position
            return slot
    return -1


@compiled
def _judge(slots: Slots, row: int, slot: int, word: np.uint64, value: float) -> bool:
    """Whether one value is strange; learns it."""
    odd = False
    seen = slots.seen[row, slot]
    if seen >= 0:
        place = -1
        for k in range(slot * WORDS, (slot + 1) * WORDS):
            if slots.word[row, k] == word or slots.word[row, k] == 0:
                place = k
                break
        before = slots.times[row, place] if place >= 0 else 0
        odd = bool(seen >= ENOUGH and before < RARE * seen)
        slots.seen[row, slot] = seen + 1 if place >= 0 else -1
        if place >= 0:
            slots.word[row, place] = word
            slots.times[row, place] += 1
    if not math.isfinite(value):
        return odd
    far = _far(slots, row, slot, math.asinh(value))
    return far if slots.seen[row, slot] < 0 else odd


@compiled
def _far(slots: Slots, row: int, slot: int, value: float) -> bool:
    """Whether a number is far from the usual ones; learns it."""
    before = slots.numbers[row, slot]
    slots.numbers[row, slot] = before + 1
    if before == 0:
        slots.center[row, slot] = value
        slots.spread[row, slot] = _FLOOR
        slots.tail[row, slot] = LEAST / MARGIN
        return False
    spread, tail = slots.spread[row, slot], slots.tail[row, slot]
    error = value - slots.center[row, slot]
    distance = abs(error) / spread
    far = bool(before >= ENOUGH and distance > max(LEAST, MARGIN * tail))
    rate = max(1.0 / (before + 1.0), _MEMORY)
    # Until enough is known every number counts in full, later one that is far as if it were near.
    most = 3.0 * spread if before >= ENOUGH else abs(error)
    held = min(max(error, -most), most)
    slots.center[row, slot] += rate * held
    # 1.2533: ratio of standard and mean absolute deviation of a normal distribution.
    slots.spread[row, slot] = max(_FLOOR, spread + rate * (1.2533 * abs(held) - spread))
    if before >= ENOUGH:
        step = _RATE * _TAIL if distance > tail else _RATE * (_TAIL - 1.0)
        slots.tail[row, slot] = min(max(tail * math.exp(step), 1.0), 1e6)
    return far
