"""Detectors made of `aspects`: one family of statistics alone, or all of them and a vote.

Scoring and learning a sample are one loop over rows each, compiled. What was computed when a
sample was scored is remembered until it is learned, as the engine does one right after the other;
learned without, or with other values, it is computed again.

Cost of all families: about 10 microseconds a sample; see `detectors/committee.py` for the state.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import NamedTuple, cast
from zipfile import BadZipFile

import numpy as np

from dos.detect.aspects.examine import absorb, examine
from dos.detect.aspects.rarity import rarities
from dos.detect.aspects.state import (
    CFILL,
    COUNT,
    FAMILIES,
    FILL,
    FRESH,
    LONG,
    RSPREAD,
    SCRATCH,
    STATISTICS,
    WARM_UP,
    Room,
    Sample,
    Tables,
    layout,
    phase_of,
    tables,
)
from dos.detect.aspects.vote import (
    BEFORE,
    INPUTS,
    LATELY,
    MEMORY,
    Weights,
    keep_in_mind,
    odds,
    summed_up,
)
from dos.detect.base import Scored
from dos.detect.columns import Column, Columns
from dos.detect.robust import (
    FLOORS,
    MAX_DEVIATION,
    Pace,
    begin_again,
    floor_of,
    real,
    scaled,
    set_floors,
    unscaled,
    usable,
    whole,
)
from dos.kit.compiled import compiled
from dos.kit.errors import CorruptDataError, PermanentError
from dos.ml.card import checked
from dos.model.telemetry import (
    BoolArray,
    Float32Array,
    Float64Array,
    Int32Array,
    Int64Array,
    Role,
    Series,
)

VOTE = "vote.npz"
"""Name of a trained vote in the folder of its model, beside the card."""
_AT_LIMIT = 6.0
"""Deviation at which the engine suspects a series by default."""
_CERTAIN = 5.0
"""Rarity of a single statistic that is as suspicious: one sample in 100,000."""
_SUSPECTED, _SUSPECTED_WEIGHT = math.log1p(2.5), 0.05
"""In training: what the six rarest statistics lately have to be, and how much is learned then."""
_SMALL = 3.0
"""Floors of role and unit below which a change means nothing, however rare it is."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Model:
    """What the vote was trained to."""

    weights: Weights
    odds: Float64Array
    deviation: Float64Array
    """`[knot]` which deviation log-odds stand for; straight on beyond the ends."""


class _Samples(NamedTuple):
    """A batch as the compiled loops take it."""

    row: Int32Array
    value: Float64Array
    """On the scale of judgement."""
    phase: Float64Array


class _Found(NamedTuple):
    """What `examine` found, in columns `[sample]`; `[sample, statistic]` the first two."""

    stat: Float64Array
    rarity: Float64Array
    residual: Float64Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Looked:
    """What was computed of a batch when it was scored."""

    samples: _Samples
    found: _Found
    broken: BoolArray
    odds: Float64Array

    def of(self, samples: _Samples) -> bool:
        """Whether it was computed of these samples."""
        mine = self.samples
        return (
            np.array_equal(mine.row, samples.row)
            and np.array_equal(mine.value, samples.value)
            and np.array_equal(mine.phase, samples.phase)
        )


class Aspects:
    """A detector of one family of statistics, or of all with a vote.

    Args:
        name: Of the detector.
        version: Of the detector.
        families: Which statistics, see `dos.detect.aspects.state`.
        model: Weighs them; without, the rarest counts.
    """

    def __init__(
        self, name: str, version: str, families: Collection[str], model: Model | None = None
    ) -> None:
        self.name, self.version = name, version
        self._asked = np.array([one in families for one in FAMILIES])
        chosen = {FAMILIES[one] for one in families}
        self._mine = np.array([family in chosen for _, family in STATISTICS])
        self._layout = {
            **FLOORS,
            **Pace.layout(),
            **layout(chosen),
            "known": Column(dtype="|b1", initial=False),
            "memory": Column(dtype="<f4", width=MEMORY if model else 1),
        }
        self._model = model
        self._pace = Pace()
        self._looked: _Looked | None = None

    def layout(self) -> Mapping[str, Column]:
        """Columns of the families."""
        return self._layout

    def prepare(self, columns: Columns, first: int, series: Sequence[Series]) -> None:
        """Take scale and floors from role and unit; without either, all is relative."""
        set_floors(columns, first, series)
        columns["known"][first:] = [
            one.spec.role is not Role.OTHER or bool(one.spec.unit) for one in series
        ]

    def score(
        self, columns: Columns, row: Int32Array, timestamp: Int64Array, value: Float64Array
    ) -> Scored:
        """How odd each sample is."""
        looked = self._look(columns, _samples(columns, row, timestamp, value), timestamp)
        self._looked = looked
        scalar = real(columns, "scalar")
        ready = (whole(columns, "count")[row] >= WARM_UP) & usable(value) & ~looked.broken
        if self._model is None:
            rarest = np.where(self._mine, looked.found.rarity, 0.0).max(axis=1)
            size = _AT_LIMIT * np.sqrt(rarest / _CERTAIN)
        else:
            before = cast(Float32Array, columns["memory"])[row, BEFORE]
            size = _read(np.minimum(looked.odds, before), self._model.odds, self._model.deviation)
        expected = np.where(ready, looked.samples.value - looked.found.residual, 0.0)
        floor = floor_of(columns, row, expected)
        change = np.abs(looked.found.residual) + np.abs(_drift(columns, row))
        small = columns["known"][row].astype(bool) & (change < _SMALL * floor)
        size = np.where(small, size * change / (_SMALL * floor), size)
        sign = np.where(_direction(columns, row, looked.found.residual) < 0, -1.0, 1.0)
        return Scored(
            deviation=np.where(ready, sign * np.minimum(size, MAX_DEVIATION), 0.0),
            expected=expected,
            sigma=np.maximum(1.25 * scalar[row, RSPREAD], floor),
            ready=ready,
        )

    def learn(
        self,
        columns: Columns,
        row: Int32Array,
        timestamp: Int64Array,
        value: Float64Array,
        weight: Float64Array,
    ) -> None:
        """Take the samples in."""
        use = usable(value)
        row, timestamp, value, weight = row[use], timestamp[use], value[use], weight[use]
        looked, self._looked = self._looked, None
        fresh = bool((whole(columns, "count")[row] == 0).any())
        if fresh:
            begin_again(columns, self._layout, row, keep=(*FLOORS, "known"))
        samples = _samples(columns, row, timestamp, value)
        if looked is None or fresh or not looked.of(samples):
            looked = self._look(columns, samples, timestamp)
        scalar = real(columns, "scalar")
        for name in (FRESH, FILL, CFILL):
            scalar[row[looked.broken], name] = 0.0
        memory = np.empty((0, 1), np.float32)
        if self._model is not None:
            memory = cast(Float32Array, columns["memory"])
        self._pace.learn(columns, row, timestamp)
        _absorb_all(samples, looked.found, weight, self._asked, tables(columns), memory)
        if self._model is not None:
            memory[row, BEFORE] = looked.odds

    def to_unit(self, columns: Columns, row: Int32Array, scaled: Float64Array) -> Float64Array:
        """Undo the log scale."""
        return unscaled(columns, row, scaled)

    def reasons(self, looked_at: int) -> list[tuple[str, float]]:
        """The rarest statistics of a sample of the batch just scored, rarest first.

        Args:
            looked_at: Position in the batch.
        """
        if self._looked is None:
            return []
        rarity = np.where(self._mine, self._looked.found.rarity[looked_at], 0.0)
        order = np.argsort(-rarity, kind="stable")[:3].tolist()
        return [(STATISTICS[place][0], float(rarity[place])) for place in order]

    def _look(self, columns: Columns, samples: _Samples, timestamp: Int64Array) -> _Looked:
        count = len(samples.row)
        found = _Found(
            stat=np.empty((count, COUNT)),
            rarity=np.empty((count, COUNT)),
            residual=np.empty(count),
        )
        _examine_all(samples, self._asked, tables(columns), found)
        said = np.zeros(count)
        if self._model is not None:
            memory = cast(Float32Array, columns["memory"])
            _vote_all(samples.row, found.rarity, memory, self._model.weights, said)
        broken = self._pace.broken(columns, samples.row, timestamp)
        return _Looked(samples=samples, found=found, broken=broken, odds=said)


def _samples(
    columns: Columns, row: Int32Array, timestamp: Int64Array, value: Float64Array
) -> _Samples:
    values = np.nan_to_num(scaled(columns, row, value), nan=0.0)
    return _Samples(row=row, value=values, phase=phase_of(timestamp))


def inputs_of(values: Float64Array, timestamp: Int64Array) -> Float32Array:
    """What the vote is given of each sample of a series: for training.

    Samples are learned as the engine has them learned: hardly, while they are suspected. By whom is
    what is about to be trained, so here by the rarest statistics alone.

    Args:
        values: `[n]` finite.
        timestamp: `[n]` milliseconds since the epoch.

    Returns:
        `[n, input]`.
    """
    columns = Columns({**layout(FAMILIES.values()), "memory": Column(dtype="<f4", width=MEMORY)})
    columns.grow(1)
    out = np.empty((len(values), INPUTS), np.float32)
    memory = cast(Float32Array, columns["memory"])
    everything = np.ones(len(FAMILIES), np.bool_)
    _replay(values, phase_of(timestamp), everything, tables(columns), memory, out)
    return out


@compiled
def _replay(
    values: Float64Array,
    phase: Float64Array,
    asked: BoolArray,
    held: Tables,
    memory: Float32Array,
    out: Float32Array,
) -> None:
    room = Room(asked, held, np.empty(SCRATCH, np.float32))
    stat, rarity, inputs = np.empty(COUNT), np.empty(COUNT), np.empty(INPUTS)
    for at in range(len(values)):
        examine(0, values[at], phase[at], room, stat)
        rarities(stat, held.histogram[0], held.total[0], rarity)
        summed_up(rarity, memory[0], inputs)
        out[at] = inputs
        weight = _SUSPECTED_WEIGHT if inputs[LATELY] > _SUSPECTED else 1.0
        absorb(0, Sample(values[at], phase[at], weight), room, stat, rarity)
        keep_in_mind(rarity, memory[0])


def save_model(model: Model, folder: Path) -> Path:
    """Write a model that `load_model` reads, in single precision; equal models are equal bytes.

    Raises:
        PermanentError: The folder cannot be written.
    """
    arrays = {**model.weights._asdict(), "odds": model.odds, "deviation": model.deviation}
    path = folder / VOTE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            single = {name: one.astype(np.float32) for name, one in arrays.items()}
            np.savez(file, allow_pickle=False, **single)
    except OSError as error:
        raise PermanentError(f"{path}: cannot be written: {error.strerror or error}.") from error
    return path


def load_model(folder: Path) -> Model:
    """Read a model that matches its card.

    Raises:
        PermanentError: There is none.
        CorruptDataError: It is not what its card says, or of other statistics than these.
    """
    content = checked(folder, VOTE)
    try:
        with np.load(BytesIO(content), allow_pickle=False) as file:
            arrays = {name: file[name].astype(np.float64) for name in file.files}
        model = Model(
            odds=arrays.pop("odds"), deviation=arrays.pop("deviation"), weights=Weights(**arrays)
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
        raise CorruptDataError(f"{folder / VOTE}: not a vote: {error}.") from error
    if len(model.weights.hidden) != INPUTS:
        msg = f"{folder}: a vote over other statistics."
        raise CorruptDataError(msg, remedy="Train it again: dos train vote.")
    return model


def _read(odds: Float64Array, knots: Float64Array, deviation: Float64Array) -> Float64Array:
    """Deviations by log-odds: linear between knots, and straight on beyond the last one."""
    inside = np.interp(odds, knots, deviation)
    slope = (deviation[-1] - deviation[-2]) / (knots[-1] - knots[-2])
    above = deviation[-1] + slope * (odds - knots[-1])
    # Below the first knot it falls towards 0 without reaching it: no ties.
    below = deviation[0] * np.exp(np.minimum(odds - knots[0], 0.0))
    return np.where(odds > knots[-1], above, np.where(odds < knots[0], below, inside))


def _drift(columns: Columns, row: Int32Array) -> Float64Array:
    """How far the last quarter of an hour or so lies from the long level."""
    recent = cast(Float32Array, columns["recent"])[row, -16:]
    mean: Float64Array = recent.mean(axis=1, dtype=np.float64)
    away: Float64Array = mean - real(columns, "scalar")[row, LONG]
    return away


def _direction(columns: Columns, row: Int32Array, residual: Float64Array) -> Float64Array:
    """Where the last four samples lie from what was expected."""
    before = cast(Float32Array, columns["residual"])[row, -3:]
    lately: Float64Array = before.sum(axis=1, dtype=np.float64) + residual
    return lately


@compiled
def _examine_all(samples: _Samples, asked: BoolArray, held: Tables, found: _Found) -> None:
    room = Room(asked, held, np.empty(SCRATCH, np.float32))
    for at in range(len(samples.row)):
        one, value, phase = samples.row[at], samples.value[at], samples.phase[at]
        stat, rarity = found.stat[at], found.rarity[at]
        found.residual[at] = examine(one, value, phase, room, stat)
        rarities(stat, held.histogram[one], held.total[one], rarity)


@compiled
def _vote_all(
    row: Int32Array,
    rarity: Float64Array,
    memory: Float32Array,
    weights: Weights,
    out: Float64Array,
) -> None:
    inputs = np.empty(INPUTS)
    for at in range(len(row)):
        summed_up(rarity[at], memory[row[at]], inputs)
        out[at] = odds(inputs, weights)


@compiled
def _absorb_all(
    samples: _Samples,
    found: _Found,
    weight: Float64Array,
    asked: BoolArray,
    held: Tables,
    memory: Float32Array,
) -> None:
    room = Room(asked, held, np.empty(SCRATCH, np.float32))
    for at in range(len(samples.row)):
        one, value, phase = samples.row[at], samples.value[at], samples.phase[at]
        stat, rarity = found.stat[at], found.rarity[at]
        absorb(one, Sample(value, phase, weight[at]), room, stat, rarity)
        if len(memory):
            keep_in_mind(rarity, memory[one])
