"""What the temporal detectors keep of a series: the newest samples, and a thinned-out past.

The newest `WINDOW` samples are in a ring. A sample that leaves it may enter the memory, unless it
was abnormal when it came: so the memory never holds what is being judged, and an incident does not
become part of the usual. The memory keeps every sample at first, then every second, every fourth,
… so that `MEMORY` values cover up to `MEMORY * sparsest` samples; then the oldest give way.

All state is in columns, a row a series; `keep` runs over rows in compiled code. After a gap of many
steps the window starts anew, the memory stays.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dos.detect.columns import Column, Columns
from dos.detect.robust import real, whole
from dos.detect.temporal_window import MEMORY, WINDOW, Described, describe
from dos.kit.compiled import compiled
from dos.model.telemetry import BoolArray, Float64Array, Int32Array, Int64Array

LAYOUT = {
    "count": Column(dtype="<i8"),
    "held": Column(dtype="<i8"),
    "ring": Column(dtype="<f8", width=WINDOW),
    "marks": Column(dtype="<i8"),
    "last": Column(dtype="<i8"),
    "step": Column(dtype="<f8"),
    "left": Column(dtype="<i8"),
    "stride": Column(dtype="<i8", initial=1),
    "filled": Column(dtype="<i8"),
    "cursor": Column(dtype="<i8"),
    "past": Column(dtype="<f8", width=MEMORY),
    "moves": Column(dtype="<f8", width=MEMORY),
}
"""`count` samples were learned since the start or a restart (the engine sets it to 0 for one),
`held` of them are in `ring`, newest at `(held - 1) % WINDOW`; bit k of `marks`: slot k was
abnormal. `left` samples went out of the window; `past` and `moves` are the memory."""

_ABNORMAL = 0.2
"""A sample with a smaller weight stays out of the memory."""
_GAP = 20.0
"""Steps without a sample after which the window starts anew."""


def described(columns: Columns, row: Int32Array, value: Float64Array) -> Described:
    """The windows of `row` with `value` as the newest sample, as the network takes them.

    A window that is not full yet is filled up with its oldest sample; see `full`.
    """
    held = whole(columns, "held")
    window = np.empty((len(row), WINDOW))
    _gather(real(columns, "ring"), held, row, value, window)
    return describe(
        window,
        real(columns, "past")[row],
        real(columns, "moves")[row],
        whole(columns, "filled")[row],
    )


def full(columns: Columns, row: Int32Array, timestamp: Int64Array) -> BoolArray:
    """Whether the window of each of `row` is full with the sample that comes at `timestamp`."""
    passed = timestamp.astype(np.float64) - whole(columns, "last")[row]
    step = real(columns, "step")[row]
    gap = (step > 0) & (passed > _GAP * step)
    enough: BoolArray = whole(columns, "held")[row] >= WINDOW - 1
    return enough & (whole(columns, "count")[row] > 0) & ~gap


def keep(
    columns: Columns,
    row: Int32Array,
    timestamp: Int64Array,
    value: Float64Array,
    weight: Float64Array,
    sparsest: int,
) -> None:
    """Take the samples into the window, and what leaves it into the memory.

    Args:
        columns: Of a layout that includes `LAYOUT`.
        row: `[sample]`, each at most once.
        timestamp: `[sample]` ms.
        value: `[sample]` finite.
        weight: `[sample]` 1 for normal, towards 0 for abnormal.
        sparsest: The memory keeps every so-many-th sample at least.
    """
    state = _State(
        learned=whole(columns, "count"),
        held=whole(columns, "held"),
        marks=whole(columns, "marks"),
        last=whole(columns, "last"),
        left=whole(columns, "left"),
        stride=whole(columns, "stride"),
        filled=whole(columns, "filled"),
        cursor=whole(columns, "cursor"),
        step=real(columns, "step"),
        ring=real(columns, "ring"),
        past=real(columns, "past"),
        moves=real(columns, "moves"),
    )
    _keep(state, row, timestamp, value, weight < _ABNORMAL, sparsest)


class _State(NamedTuple):
    """The columns of `LAYOUT`; `learned` is its `count`."""

    learned: Int64Array
    held: Int64Array
    marks: Int64Array
    last: Int64Array
    left: Int64Array
    stride: Int64Array
    filled: Int64Array
    cursor: Int64Array
    step: Float64Array
    ring: Float64Array
    past: Float64Array
    moves: Float64Array


@compiled
def _gather(
    ring: Float64Array, held: Int64Array, row: Int32Array, value: Float64Array, out: Float64Array
) -> None:
    length = out.shape[1]
    for i in range(len(row)):
        at = row[i]
        known = min(held[at], length - 1)
        for back in range(1, length):
            place = (held[at] - min(back, known)) % length
            out[i, length - 1 - back] = ring[at, place] if known > 0 else value[i]
        out[i, length - 1] = value[i]


@compiled
def _keep(
    state: _State,
    row: Int32Array,
    timestamp: Int64Array,
    value: Float64Array,
    abnormal: BoolArray,
    sparsest: int,
) -> None:
    count, held, marks, step = state.learned, state.held, state.marks, state.step
    length = state.ring.shape[1]
    for i in range(len(row)):
        at = row[i]
        if count[at] == 0:
            held[at], marks[at], state.left[at] = 0, 0, 0
            state.stride[at], state.filled[at], state.cursor[at], step[at] = 1, 0, 0, 0.0
        else:
            passed = float(timestamp[i] - state.last[at])
            if step[at] > 0.0 and passed > _GAP * step[at]:
                held[at], marks[at] = 0, 0
            elif passed > 0.0:
                step[at] = passed if step[at] == 0.0 else step[at] + 0.1 * (passed - step[at])
        slot = held[at] % length
        bit = np.int64(1) << slot
        if held[at] >= length:
            if (marks[at] & bit) == 0:
                _remember(state, at, slot, sparsest)
            state.left[at] += 1
        state.ring[at, slot] = value[i]
        marks[at] = (marks[at] | bit) if abnormal[i] else (marks[at] & ~bit)
        held[at] += 1
        count[at] += 1
        state.last[at] = timestamp[i]


@compiled
def _remember(state: _State, at: int, slot: int, sparsest: int) -> None:
    """The sample in `slot` leaves the window of row `at`: into the memory, if it is its turn."""
    stride, filled, cursor = state.stride, state.filled, state.cursor
    past, moves = state.past, state.moves
    if state.left[at] % stride[at] != 0:
        return
    size = past.shape[1]
    if filled[at] == size and stride[at] < sparsest:
        for k in range(size // 2):
            past[at, k], moves[at, k] = past[at, 2 * k], moves[at, 2 * k]
        filled[at], cursor[at] = size // 2, 0
        stride[at] *= 2
    if filled[at] < size:
        place = filled[at]
        filled[at] += 1
    else:
        place = cursor[at]
        cursor[at] = (place + 1) % size
    past[at, place] = state.ring[at, slot]
    moves[at, place] = abs(state.ring[at, (slot + 1) % state.ring.shape[1]] - past[at, place])
