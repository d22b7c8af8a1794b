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
    Base,
    Look,
    Rule,
    Settings,
    Table,
    Who,
    begins_anew,
    far,
    is_near,
    learn,
    look,
    near,
    turn,
    whole,
)
from dos.detect.ferry import Batch, Newest, fill, put, scale, take
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
    AWAY,
    BELOW,
    CERTAIN,
    COUNT,
    DISTANCE,
    DRIFT,
    EXPECTED,
    HALF,
    INVERSE,
    LAST,
    LASTING,
    LEVEL,
    LIMIT,
    LINGERING,
    LOG,
    MEAN,
    MOST,
    NEWEST,
    ODD,
    RELATIVE_CREEP,
    RELATIVE_FLOOR,
    RISE,
    SAMPLES,
    SCALE,
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
    WAS_COUNT,
    WAS_LAST,
    WAS_SUM,
    WIDTH,
    Pace,
    calm,
    moved,
    recall,
    remember,
)  # fmt: skip
from dos.kit.compiled import lean
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


class Plan(NamedTuple):
    """Parameters, as numbers."""

    settings: Settings
    rules: Rules
    pace: Pace
    history: bool
    """Learn, decide nothing."""


class Hours(NamedTuple):
    """Where the daily shape is learned; see `Table`."""

    shape: Float32Array
    visits: UInt8Array
    off: UInt8Array
    calendar: UInt8Array
    first_off: int


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


class Turn(NamedTuple):
    """Where in a batch a chunk is."""

    first: int
    """Place of its first series."""
    k: int
    """Number of their sample."""
    found: int
    """Findings so far."""


class Acts(NamedTuple):
    """What follows from it for learning."""

    kind: int
    weight: float
    tail: float
    lasting: float
    abnormal: bool


@lean
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


@lean
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


@lean
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


@lean
def begun(seen: Look) -> Look:
    """`seen`, but with the baseline beginning anew."""
    return Look(
        seen.scaled, seen.carried, seen.drift, True, False, seen.expected, seen.sigma,
        seen.deviation, False,
    )  # fmt: skip


@lean
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


@lean
def who_is(hours: Hours, i: int) -> Who:
    """Row `i` and its holidays."""
    return Who(whole(i), whole(hours.calendar[whole(i)]), hours.first_off)


@lean
def base_of(lane: Float64Array, j: int) -> Base:
    """What lane `j` knows."""
    return Base(int(lane[SAMPLES + j]), lane[LEVEL + j], lane[SLOW + j], lane[SPREAD + j],
                int(lane[LAST + j]), lane[STEP + j], lane[RISE + j], lane[SUM + j],
                int(lane[COUNT + j]))  # fmt: skip


@lean
def bend(hours: Hours, row: Int32Array, lane: Float64Array) -> None:
    """How the shape moves those lanes' levels whose sample lies in another half hour.

    They are not odd any more, unless they begin anew.
    """
    for j in range(len(row)):
        if lane[ODD + j] == 0.0 or np.isnan(lane[VALUE + j]):
            continue
        base, at, who = base_of(lane, j), int(lane[AT + j]), who_is(hours, row[j])
        drift = far(hours.shape, hours.visits, hours.off, who, base.last, at)
        if not begins_anew(base, at, drift.told):
            lane[DRIFT + j] = drift.by
            lane[ODD + j] = 0.0


@lean
def bent(hours: Hours, row: Int32Array, lane: Float64Array) -> None:
    """What those lanes learn of the shape that are not odd."""
    for j in range(len(row)):
        at = int(lane[AT + j])
        start = at // HALF * HALF
        if lane[ODD + j] > 0.0 or start == lane[START + j]:
            continue
        learned, who = base_of(lane, j), who_is(hours, row[j])
        base = Base(learned.samples, learned.level, learned.slow, learned.spread,
                    int(lane[WAS_LAST + j]), learned.step, learned.rise, lane[WAS_SUM + j],
                    int(lane[WAS_COUNT + j]))  # fmt: skip
        learned = turn(hours.shape, hours.visits, hours.off, who, base, learned)
        lane[RISE + j], lane[START + j] = learned.rise, start
        lane[SUM + j], lane[COUNT + j] = learned.hour_sum, learned.hour_count


@lean
def attend(
    hours: Hours, rows: Rows, p: Plan, i: int, j: int, lane: Float64Array
) -> tuple[int, Look, Said]:
    """Score, decide and learn one sample of an odd lane: what changed, and what was said."""
    s, r, value, at = p.settings, p.rules, lane[VALUE + j], int(lane[AT + j])
    base, who = base_of(lane, j), who_is(hours, i)
    shape, visits, off = hours.shape, hours.visits, hours.off
    rule = Rule(lane[LOG + j] > 0.0, lane[RELATIVE_FLOOR + j], lane[ABSOLUTE_FLOOR + j],
                lane[RELATIVE_CREEP + j], lane[ABSOLUTE_CREEP + j])  # fmt: skip
    side = Side(lane[ABOVE + j] > 0.0, lane[BELOW + j] > 0.0, lane[CERTAIN + j], lane[SCALE + j])
    tail, strayed = lane[TAIL + j], lane[STRAYING + j] > 0.0
    close = is_near(base, at)
    drift = near(base, at) if close else far(shape, visits, off, who, base.last, at)
    seen = again = look(s, base, rule, drift, at, value)
    lasting, lingered = lane[LASTING + j], lane[LINGERING + j] > 0.0
    deviation = seen.deviation if seen.ready else 0.0
    mean = mean_after(r, lane[MEAN + j], deviation, rows.abnormal[who.i])
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
    lane[SAMPLES + j], lane[LEVEL + j], lane[SLOW + j] = base.samples, base.level, base.slow
    lane[SPREAD + j], lane[LAST + j], lane[STEP + j] = base.spread, at, base.step
    lane[SUM + j], lane[COUNT + j] = base.hour_sum, base.hour_count
    lane[INVERSE + j] = 1.0 / base.samples
    lane[TAIL + j], lane[STRAYING + j] = tail, single.distance > acts.tail
    lane[MEAN + j], lane[LASTING + j] = mean, lasting
    lane[LINGERING + j] = away > acts.lasting
    lane[EXPECTED + j], lane[SIGMA + j] = seen.expected, seen.sigma if seen.ready else np.nan
    lane[DISTANCE + j], lane[LIMIT + j] = single.distance, single.limit
    lane[AWAY + j], lane[MOST + j] = away, most
    lane[NEWEST + j] = value
    return acts.kind, seen, said


@lean
def odd_ones(  # noqa: PLR0917  compiled functions know no keyword-only arguments
    hours: Hours, rows: Rows, found: Found, p: Plan, batch: Batch, now: Turn, lane: Float64Array
) -> int:
    """One sample of each odd lane, one by one; how many findings there are after it."""
    n = now.found
    for j in range(min(WIDTH, len(batch.row) - now.first)):
        if lane[ODD + j] == 0.0:
            continue
        if np.isnan(lane[VALUE + j]):
            recall(lane, j)
            continue
        place = now.first + j
        i = whole(batch.row[place])
        kind, seen, said = attend(hours, rows, p, i, j, lane)
        if kind != NOTHING:
            even = place + now.k * len(batch.row)
            at = even if batch.even else batch.begin[place] + now.k
            note(found, n, rows, i, Noted(at, kind, seen, said))
            n += 1
    return n


@lean
def run(  # noqa: PLR0917  compiled functions know no keyword-only arguments
    t: Table, rows: Rows, newest: Newest, found: Found, p: Plan, batch: Batch, first: int,
    lane: Float64Array,
) -> tuple[int, int]:  # fmt: skip
    """Score, decide and learn, chunk by chunk of series from the place `first` of the batch on.

    Args:
        t: Columns of the detector.
        rows: Columns of the decision.
        newest: Columns of the newest samples.
        found: Where findings go.
        p: The parameters.
        batch: The samples.
        first: Place in the batch.
        lane: `[FIELDS * WIDTH]` to work in.

    Returns:
        The place to go on from (the number of series if all are done; another if there was no
        room for the findings of one more chunk), and how many findings there are.
    """
    hours = Hours(t.shape, t.visits, t.off, t.calendar, p.settings.first_off)
    n, width = 0, len(batch.row)
    for start in range(first, width, WIDTH):
        row = batch.row[start : start + WIDTH]
        if n + len(row) * batch.times > len(found.at):
            return start, n
        logs = take(t, rows, row, lane)
        for k in range(batch.times):
            fill(batch, start, len(row), k, lane)
            gaps, turned = scale(lane, logs), moved(lane)
            if gaps + turned > 0:
                remember(lane)
            if turned > 0:
                bend(hours, row, lane)
            if calm(lane, p.pace) > 0:
                n = odd_ones(hours, rows, found, p, batch, Turn(start, k, n), lane)
            if turned > 0:
                bent(hours, row, lane)
        put(t, rows, newest, row, lane)
    return width, n
