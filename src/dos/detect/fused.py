"""All that is done with a sample of a series that only the everyday detector watches, in one pass.

Look, threshold, decision, learning: in NumPy these are a hundred walks through memory, here each
row is loaded once and stored once. `tick` takes one sample of many series, `block` a stretch of
many samples of many series, series by series, with the baseline in registers. Both call `advance`
for every sample, so that they give the same to the last bit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dos.detect.ewma import (
    Base,
    Look,
    Rule,
    Settings,
    Table,
    far,
    is_near,
    learn,
    look,
    near,
    real,
    turn,
    whole,
)
from dos.detect.judge import (
    EXHAUSTED,
    NOTHING,
    STARTED,
    Rows,
    Rules,
    Side,
    decide,
    distance_of,
    limit_of,
    tail_after,
)
from dos.kit.compiled import compiled
from dos.model.telemetry import (
    Float32Array,
    Float64Array,
    Int8Array,
    Int32Array,
    Int64Array,
)

HISTORY_WEIGHT = 0.3
"""How much a suspicious sample of the past is learned: nobody decides there what is abnormal."""


class Newest(NamedTuple):
    """The newest sample of each series, `[series]` each."""

    last: Int64Array
    value: Float64Array
    expected: Float32Array
    sigma: Float32Array
    strength: Float32Array


class Plan(NamedTuple):
    """Parameters, as numbers."""

    settings: Settings
    rules: Rules
    history: bool
    """Learn, decide nothing."""


class Batch(NamedTuple):
    """Samples: `times` of each series."""

    row: Int32Array
    """`[series]` without repeats."""
    at: Int64Array
    """`[series]` their times, or `[time]` if those are `shared`."""
    value: Float64Array
    """`[time * series]`, all series of the first time before those of the second; NaN: none."""
    times: int
    shared: bool


class Found(NamedTuple):
    """Where findings are written, `[room]` each; series by series, in order of time."""

    at: Int64Array
    """Position of the sample in the batch's values."""
    row: Int32Array
    kind: Int8Array
    onset: Int64Array
    seen: Float64Array
    """`[room, 5]` deviation, expected, sigma, limit, strength."""


class Said(NamedTuple):
    """What comes of one sample."""

    limit: float
    distance: float
    strength: float


_NOT_LOOKED = Look(0.0, 0.0, 0.0, False, False, 0.0, 0.0, 0.0, False)
_NOT_SAID = Said(0.0, 0.0, 0.0)


class Noted(NamedTuple):
    """One finding."""

    at: int
    kind: int
    seen: Look
    said: Said


class Acts(NamedTuple):
    """What follows from it for learning."""

    kind: int
    weight: float
    tail: float
    abnormal: bool


@compiled
def weigh(r: Rules, side: Side, tail: float, seen: Look) -> Said:
    """How far beyond the threshold a sample is."""
    limit = limit_of(r, side, tail, seen.sigma, seen.crept)
    distance = distance_of(side, seen.deviation) if seen.ready else 0.0
    return Said(limit, distance, distance / limit)


@compiled
def act(rows: Rows, p: Plan, i: int, tail: float, strength: float, at: int) -> Acts:
    """What to do about a sample that is suspicious, or of a series that was a moment ago."""
    r, was = p.rules, rows.abnormal[i]
    if p.history:
        weight = max(r.abnormal_weight, HISTORY_WEIGHT) if strength >= 1.0 else 1.0
        return Acts(NOTHING, weight, tail, was)
    if strength >= 1.0 and rows.evidence[i] == 0.0:
        rows.tail_before[i] = tail
    kind = decide(r, rows, i, strength, at)
    if kind == STARTED:
        tail = real(rows.tail_before[i])
    abnormal = was or rows.abnormal[i]
    weight = r.abnormal_weight if abnormal or strength >= 1.0 else 1.0
    return Acts(kind, weight, tail, abnormal)


@compiled
def begun(seen: Look) -> Look:
    """`seen`, but with the baseline beginning anew."""
    return Look(
        seen.scaled, seen.carried, seen.drift, True, False, seen.expected, seen.sigma,
        seen.deviation, False,
    )  # fmt: skip


@compiled
def note(found: Found, place: int, rows: Rows, i: int, one: Noted) -> None:
    """Write down a finding."""
    found.at[place] = one.at
    found.row[place] = i
    found.kind[place] = one.kind
    found.onset[place] = rows.onset[i]
    found.seen[place, 0] = one.seen.deviation
    found.seen[place, 1] = one.seen.expected
    found.seen[place, 2] = one.seen.sigma
    found.seen[place, 3] = one.said.limit
    found.seen[place, 4] = one.said.strength


@compiled
def run(  # noqa: PLR0917  compiled functions know no keyword-only arguments
    t: Table, rows: Rows, newest: Newest, found: Found, p: Plan, batch: Batch, first: int
) -> tuple[int, int]:
    """Score, decide and learn, series by series from the place `first` of the batch on.

    Columns are unpacked here: taking an array out of a tuple costs as much as a sample does.

    Returns:
        The place to go on from (the number of series if all are done; another if there was no
        room for the findings of one more series), and how many findings there are.
    """
    (samples, level, slow, spread, last, step, rise, hour_sum, hour_count, log, relative_floor,
     absolute_floor, relative_creep, absolute_creep, _, _, _, _) = t  # fmt: skip
    above, below, certain, scale, evidence, abnormal, _, _, _, _, tail, _, straying = rows
    n_last, n_value, n_expected, n_sigma, n_strength = newest
    s, r, room, width, n = p.settings, p.rules, len(found.at), len(batch.row), 0
    row, times, value, shared = batch.row, batch.at, batch.value, batch.shared
    for place in range(first, width):
        if n + batch.times > room:
            return place, n
        i = whole(row[place])
        base = Base(whole(samples[i]), real(level[i]), real(slow[i]), real(spread[i]),
                    whole(last[i]), real(step[i]), real(rise[i]), real(hour_sum[i]),
                    whole(hour_count[i]))  # fmt: skip
        rule = Rule(log[i], real(relative_floor[i]), real(absolute_floor[i]),
                    real(relative_creep[i]), real(absolute_creep[i]))  # fmt: skip
        side = Side(above[i], below[i], real(certain[i]), real(scale[i]))
        q: float = real(tail[i])
        strayed = bool(straying[i])
        seen, said, newest_value = _NOT_LOOKED, _NOT_SAID, np.nan
        for k in range(batch.times):
            v, at = real(value[k * width + place]), whole(times[k if shared else place])
            if np.isnan(v):
                continue
            close = is_near(base, at)
            drift = near(base, at) if close else far(t, s, i, base.last, at)
            seen = again = look(s, base, rule, drift, at, v)
            said = weigh(r, side, q, seen)
            acts = Acts(NOTHING, 1.0, q, abnormal[i])
            if said.strength >= 1.0 or acts.abnormal or evidence[i] > 0.0:
                acts = act(rows, p, i, q, said.strength, at)
                if acts.kind != NOTHING:
                    note(found, n, rows, i, Noted(k * width + place, acts.kind, seen, said))
                    n += 1
                if acts.kind == EXHAUSTED:
                    again = begun(seen)
            learned = learn(s, base, rule, again, at, acts.weight)
            base = learned if close else turn(t, s, i, base, learned)
            q = acts.tail
            if seen.ready and not acts.abnormal and not seen.crept:
                q = tail_after(r, q, strayed, said.distance)
            strayed, newest_value = said.distance > acts.tail, v
        if not np.isnan(newest_value):
            samples[i], level[i], slow[i], spread[i] = (
                base.samples,
                base.level,
                base.slow,
                base.spread,
            )
            last[i], hour_sum[i], hour_count[i] = base.last, base.hour_sum, base.hour_count
            step[i], rise[i], tail[i], straying[i] = base.step, base.rise, q, strayed
            n_last[i], n_value[i] = base.last, newest_value
            n_expected[i] = seen.expected if seen.ready else np.nan
            n_sigma[i] = seen.sigma if seen.ready else np.nan
            n_strength[i] = said.strength if seen.ready else np.nan
    return width, n
