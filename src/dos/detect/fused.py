"""All that is done with a sample of a series that only the everyday detector watches, in one pass.

Look, threshold, decision, learning: in NumPy these are a hundred walks through memory, here each
row is loaded once and stored once. `run` takes chunks of series through all samples of a batch, be
that one of each (a tick) or thousands (history), so that both give the same to the last bit. Calm
lanes of a chunk move on together (`dos.detect.lanes`), the odd ones one by one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dos.detect.ewma import (
    LARGEST,
    Base,
    Look,
    Rule,
    Settings,
    Table,
    Who,
    far,
    is_near,
    learn,
    look,
    near,
    scaled_of,
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
    lasting_after,
    lasting_limit,
    limit_of,
    mean_after,
    tail_after,
)
from dos.detect.lanes import (
    ABOVE,
    ABSOLUTE_CREEP,
    ABSOLUTE_FLOOR,
    AT,
    BELOW,
    CERTAIN,
    COUNT,
    DISTANCE,
    EXPECTED,
    GIVEN,
    HALF,
    INVERSE,
    KNOWN,
    LAST,
    LASTING,
    LEVEL,
    LIMIT,
    LINGERING,
    LOG,
    MEAN,
    NEWEST,
    ODD,
    RELATIVE_CREEP,
    RELATIVE_FLOOR,
    RISE,
    SAMPLES,
    SCALE,
    SCALED,
    SIGMA,
    SLOW,
    SPREAD,
    START,
    STEP,
    STRAYING,
    SUM,
    TAIL,
    TROUBLED,
    VALUE,
    WIDTH,
    Pace,
    calm,
)  # fmt: skip
from dos.kit.compiled import compiled
from dos.model.telemetry import (
    Float32Array,
    Float64Array,
    Int8Array,
    Int32Array,
    Int64Array,
    UInt8Array,
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
    pace: Pace
    history: bool
    """Learn, decide nothing."""


class Batch(NamedTuple):
    """Samples of many series: either as many of each (`even`), or those of one after the other."""

    row: Int32Array
    """`[series]` without repeats."""
    at: Int64Array
    """`[sample]` times, or `[time]` if they are `shared`."""
    value: Float64Array
    """`[sample]`; even: all series of the first time before those of the second. NaN: none."""
    begin: Int64Array
    """`[series + 1]` where the samples of each series begin; not used if even."""
    times: int
    """Samples of each series, or of the series that has most."""
    even: bool
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
    lasting: float
    abnormal: bool


@compiled
def weigh(r: Rules, side: Side, tail: float, seen: Look) -> Said:
    """How far beyond the threshold a sample is."""
    limit = limit_of(r, side, tail, seen.sigma, seen.crept)
    distance = distance_of(side, seen.deviation) if seen.ready else 0.0
    return Said(limit, distance, distance / limit)


class Strays(NamedTuple):
    """How far a series strays in health, and its mean deviation now."""

    tail: float
    lasting: float
    mean: float


@compiled
def both(
    r: Rules, rows: Rows, i: int, side: Side, seen: Look, strays: Strays
) -> tuple[Said, float, float]:
    """How far a sample is beyond its threshold; and the mean deviation, and the threshold of that.

    What a stretch of wild samples teaches takes effect when it is over.
    """
    tail, lasting = strays.tail, strays.lasting
    if rows.evidence[i] > 0.0:
        tail, lasting = np.float64(rows.tail_before[i]), np.float64(rows.lasting_before[i])
    single = weigh(r, side, tail, seen)
    return single, distance_of(side, strays.mean), lasting_limit(r, side, lasting)


@compiled
def act(  # noqa: PLR0917  compiled functions know no keyword-only arguments
    rows: Rows, p: Plan, i: int, tail: float, lasting: float, strength: float, at: int
) -> Acts:
    """What to do about a sample that is suspicious, or of a series that was a moment ago."""
    r, was = p.rules, rows.abnormal[i]
    if p.history:
        weight = max(r.abnormal_weight, HISTORY_WEIGHT) if strength >= 1.0 else 1.0
        return Acts(NOTHING, weight, tail, lasting, was)
    if strength >= 1.0 and rows.evidence[i] == 0.0:
        rows.tail_before[i] = tail
        rows.lasting_before[i] = lasting
    kind = decide(r, rows, i, strength, at)
    if kind == STARTED:
        tail = np.float64(rows.tail_before[i])
        lasting = np.float64(rows.lasting_before[i])
    abnormal = was or rows.abnormal[i]
    weight = r.abnormal_weight if abnormal or strength >= 1.0 else 1.0
    return Acts(kind, weight, tail, lasting, abnormal)


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
def take(t: Table, rows: Rows, row: Int32Array, lane: Float64Array, known: Float64Array) -> int:
    """Fill the lanes with up to `WIDTH` rows; those left over get no sample, ever.

    Returns how many lanes there are up to the last one with a log scale.

    Columns are unpacked first: taking an array out of a tuple costs as much as a sample does.
    """
    (samples, level, slow, spread, last, step, rise, hour_sum, hour_count, log, relative_floor,
     absolute_floor, relative_creep, absolute_creep, _, _, _, _) = t  # fmt: skip
    (above, below, certain, scale, evidence, abnormal, _, _, _, _, mean, lasting, _, lingering,
     tail, _, straying) = rows  # fmt: skip
    logs = 0
    for j in range(len(row)):
        i = row[j]
        logs = j + 1 if log[i] else logs
        known[SAMPLES + j], known[LEVEL + j], known[SLOW + j] = samples[i], level[i], slow[i]
        known[SPREAD + j], known[LAST + j], known[STEP + j] = spread[i], last[i], step[i]
        known[SUM + j], known[COUNT + j] = hour_sum[i], hour_count[i]
        known[INVERSE + j] = 1.0 / max(samples[i], 1)
        known[TAIL + j], known[STRAYING + j] = tail[i], straying[i]
        known[MEAN + j], known[LASTING + j] = mean[i], lasting[i]
        known[LINGERING + j] = lingering[i]
        known[NEWEST + j] = np.nan
        lane[RISE + j], lane[START + j], lane[LOG + j] = rise[i], last[i] // HALF * HALF, log[i]
        lane[RELATIVE_FLOOR + j], lane[ABSOLUTE_FLOOR + j] = relative_floor[i], absolute_floor[i]
        lane[RELATIVE_CREEP + j], lane[ABSOLUTE_CREEP + j] = relative_creep[i], absolute_creep[i]
        lane[ABOVE + j], lane[BELOW + j] = above[i], below[i]
        lane[CERTAIN + j], lane[SCALE + j] = certain[i], scale[i]
        lane[TROUBLED + j] = abnormal[i] or evidence[i] > 0.0
    lane[VALUE + len(row) : VALUE + WIDTH] = np.nan
    return logs


@compiled
def fill(batch: Batch, first: int, count: int, k: int, lane: Float64Array) -> None:
    """The lanes' samples number `k`; NaN where there is none."""
    value, at, begin = batch.value, batch.at, batch.begin
    start = k * len(batch.row) + first
    if not batch.even:
        for j in range(count):
            place = begin[first + j] + k
            there = place < begin[first + j + 1]
            lane[VALUE + j] = value[place] if there else np.nan
            lane[AT + j] = at[place] if there else 0.0
        return
    now = float(at[k]) if batch.shared else 0.0
    for j in range(count):
        lane[VALUE + j] = value[start + j]
        lane[AT + j] = now if batch.shared else at[start + j]


@compiled
def scale(lane: Float64Array, logs: int) -> None:
    """The lanes' values on the scale of judgement; the first `logs` lanes may have a log scale."""
    for j in range(WIDTH):
        v = lane[VALUE + j]
        v = -LARGEST if v < -LARGEST else v  # noqa: FURB136  max would hide NaN
        lane[SCALED + j] = LARGEST if v > LARGEST else v  # noqa: FURB136  and min, too
    for j in range(logs):
        if lane[LOG + j] > 0.0 and not np.isnan(lane[VALUE + j]):
            lane[SCALED + j] = scaled_of(lane[VALUE + j], True)


@compiled
def put(
    t: Table, rows: Rows, newest: Newest, row: Int32Array, lane: Float64Array, known: Float64Array
) -> None:
    """The lanes back into the columns, as far as they had a sample."""
    (samples, level, slow, spread, last, step, rise, hour_sum, hour_count,
     _, _, _, _, _, _, _, _, _) = t  # fmt: skip
    tail, straying = rows.tail, rows.straying
    mean, lasting, lingering = rows.mean, rows.lasting, rows.lingering
    n_last, n_value, n_expected, n_sigma, n_strength = newest
    for j in range(len(row)):
        if np.isnan(known[NEWEST + j]):
            continue
        i = row[j]
        samples[i], level[i], slow[i] = known[SAMPLES + j], known[LEVEL + j], known[SLOW + j]
        spread[i], last[i], step[i] = known[SPREAD + j], known[LAST + j], known[STEP + j]
        rise[i], hour_sum[i], hour_count[i] = lane[RISE + j], known[SUM + j], known[COUNT + j]
        tail[i], straying[i] = known[TAIL + j], known[STRAYING + j] > 0.0
        mean[i], lasting[i] = known[MEAN + j], known[LASTING + j]
        lingering[i] = known[LINGERING + j] > 0.0
        n_last[i], n_value[i], n_sigma[i] = known[LAST + j], known[NEWEST + j], known[SIGMA + j]
        judged = not np.isnan(known[SIGMA + j])
        n_expected[i] = known[EXPECTED + j] if judged else np.nan
        # Plus zero, since a distance may be a negative one.
        n_strength[i] = known[DISTANCE + j] / known[LIMIT + j] + 0.0 if judged else np.nan


@compiled
def attend(  # noqa: PLR0913, PLR0917  compiled: a tuple of arrays costs more than arguments
    shape: Float32Array, visits: UInt8Array, off: UInt8Array, rows: Rows, p: Plan, who: Who,
    j: int, lane: Float64Array, known: Float64Array, then: Float64Array,
) -> tuple[int, Look, Said]:  # fmt: skip
    """Score, decide and learn one sample of an odd lane: what changed, and what was said."""
    s, r, value, at = p.settings, p.rules, lane[VALUE + j], int(lane[AT + j])
    base = Base(int(known[SAMPLES + j]), known[LEVEL + j], known[SLOW + j], known[SPREAD + j],
                int(known[LAST + j]), known[STEP + j], lane[RISE + j], known[SUM + j],
                int(known[COUNT + j]))  # fmt: skip
    rule = Rule(lane[LOG + j] > 0.0, lane[RELATIVE_FLOOR + j], lane[ABSOLUTE_FLOOR + j],
                lane[RELATIVE_CREEP + j], lane[ABSOLUTE_CREEP + j])  # fmt: skip
    side = Side(lane[ABOVE + j] > 0.0, lane[BELOW + j] > 0.0, lane[CERTAIN + j], lane[SCALE + j])
    tail, strayed = known[TAIL + j], known[STRAYING + j] > 0.0
    close = is_near(base, at)
    drift = near(base, at) if close else far(shape, visits, off, who, base.last, at)
    seen = again = look(s, base, rule, drift, at, value)
    lasting, lingered = known[LASTING + j], known[LINGERING + j] > 0.0
    deviation = seen.deviation if seen.ready else 0.0
    mean = mean_after(r, known[MEAN + j], deviation, rows.abnormal[who.i])
    single, away, most = both(r, rows, who.i, side, seen, Strays(tail, lasting, mean))
    leads = seen.ready and away * single.limit > single.distance * most
    said = Said(single.limit, single.distance, away / most) if leads else single
    acts = Acts(NOTHING, 1.0, tail, lasting, False)
    if said.strength >= 1.0 or lane[TROUBLED + j] > 0.0:
        acts = act(rows, p, who.i, tail, lasting, said.strength, at)
        lane[TROUBLED + j] = rows.abnormal[who.i] or rows.evidence[who.i] > 0.0
        if acts.kind == EXHAUSTED:
            again = begun(seen)
            mean = 0.0
    learned = learn(s, base, rule, again, at, acts.weight)
    base = learned if close else turn(shape, visits, off, who, base, learned)
    tail, lasting = acts.tail, acts.lasting
    if seen.ready and not acts.abnormal and not seen.crept:
        tail = tail_after(r, tail, strayed, single.distance)
        lasting = lasting_after(r, lasting, lingered, away)
    lane[RISE + j], lane[START + j] = base.rise, at // HALF * HALF
    then[SAMPLES + j], then[LEVEL + j], then[SLOW + j] = base.samples, base.level, base.slow
    then[SPREAD + j], then[LAST + j], then[STEP + j] = base.spread, at, base.step
    then[SUM + j], then[COUNT + j] = base.hour_sum, base.hour_count
    then[INVERSE + j] = 1.0 / base.samples
    then[TAIL + j], then[STRAYING + j] = tail, single.distance > acts.tail
    then[MEAN + j], then[LASTING + j] = mean, lasting
    then[LINGERING + j] = away > acts.lasting
    then[EXPECTED + j], then[SIGMA + j] = seen.expected, seen.sigma if seen.ready else np.nan
    then[DISTANCE + j] = away if leads else single.distance
    then[LIMIT + j] = most if leads else single.limit
    then[NEWEST + j] = value
    return acts.kind, seen, said


@compiled
def run(  # noqa: PLR0917  compiled functions know no keyword-only arguments
    t: Table, rows: Rows, newest: Newest, found: Found, p: Plan, batch: Batch, first: int
) -> tuple[int, int]:
    """Score, decide and learn, chunk by chunk of series from the place `first` of the batch on.

    Returns:
        The place to go on from (the number of series if all are done; another if there was no
        room for the findings of one more chunk), and how many findings there are.
    """
    lane, known, then = np.zeros(GIVEN * WIDTH), np.zeros(KNOWN * WIDTH), np.zeros(KNOWN * WIDTH)
    shape, visits, off, calendar = t.shape, t.visits, t.off, t.calendar
    n, width, begin, uneven = 0, len(batch.row), batch.begin, not batch.even
    for start in range(first, width, WIDTH):
        row = batch.row[start : start + WIDTH]
        if n + len(row) * batch.times > len(found.at):
            return start, n
        logs = take(t, rows, row, lane, known)
        for k in range(batch.times):
            fill(batch, start, len(row), k, lane)
            scale(lane, logs)
            if calm(lane, known, then, p.pace) > 0:
                for j in range(len(row)):
                    if lane[ODD + j] == 0.0:
                        continue
                    for field in range(0, KNOWN * WIDTH, WIDTH):
                        then[field + j] = known[field + j]
                    if not np.isnan(lane[VALUE + j]):
                        who = Who(
                            whole(row[j]), whole(calendar[whole(row[j])]), p.settings.first_off
                        )
                        kind, seen, said = attend(
                            shape, visits, off, rows, p, who, j, lane, known, then
                        )
                        if kind != NOTHING:
                            place = k + begin[start + j] if uneven else start + j + k * width
                            note(found, n, rows, who.i, Noted(place, kind, seen, said))
                            n += 1
            known, then = then, known
        put(t, rows, newest, row, lane, known)
    return width, n
