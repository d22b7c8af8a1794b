"""All statistics of one sample (`examine`), and what is learned of it (`absorb`)."""

from __future__ import annotations

import math

import numpy as np

from dos.detect.aspects.discord import discord, remember
from dos.detect.aspects.foretold import learn_forecast, surprise
from dos.detect.aspects.levels import learn_levels, learn_residual, levels, residuals
from dos.detect.aspects.patterns import learn_pattern, nearest_of
from dos.detect.aspects.rarity import count_in
from dos.detect.aspects.scale import unit_of
from dos.detect.aspects.season import learn_season, season
from dos.detect.aspects.state import (
    A8,
    ASCALE,
    ASEEN,
    BASE,
    COUNT,
    DISCORD,
    E8,
    E32,
    FORETOLD,
    FRESH,
    LEVEL,
    LONG,
    MU,
    OF_FORECAST,
    OF_PATTERN,
    ORDER,
    PATTERN,
    PATTERN_LENGTH,
    RECENT,
    RESIDUAL,
    RSEEN,
    SD,
    SPREAD,
    USED,
    VALUES,
    Room,
    Sample,
)
from dos.detect.aspects.values import learn_value, look_at_value
from dos.kit.compiled import compiled
from dos.model.telemetry import Float64Array


@compiled
def examine(
    one: int,
    value: float,
    phase: float,
    room: Room,
    stat: Float64Array,
) -> float:
    """Fill `stat` for a new sample of row `one`; NaN where a statistic has nothing to say yet.

    Returns:
        The residual: the sample less what was expected.
    """
    stat[:] = np.nan
    asked, held = room.asked, room.held
    seen, s = held.seen[one], held.scalar[one]
    if seen < 10:
        return 0.0
    v = value - s[BASE]
    unit = unit_of(s[SPREAD], s[LONG] + s[BASE])
    recent, residual = held.recent[one], held.residual[one]
    if asked[LEVEL]:
        levels(v, unit, s, recent, stat)
    r = season(v, phase, s, held.profile[one], stat)
    if asked[RESIDUAL] and s[RSEEN] > 20:
        residuals(r, s, residual, stat)
    if asked[FORETOLD] and s[ASEEN] > 3 * ORDER:
        e = surprise(r, s, residual, held.weights[one])
        stat[OF_FORECAST] = abs(e)
        stat[OF_FORECAST + 1] = math.sqrt(s[E8] + 0.15 * (min(e * e, 400 * s[ASCALE] ** 2) - s[E8]))
        stat[OF_FORECAST + 2] = math.sqrt(
            s[E32] + 0.03 * (min(e * e, 400 * s[ASCALE] ** 2) - s[E32])
        )
        bound = 4 * s[ASCALE]
        stat[OF_FORECAST + 3] = abs(s[A8] + 0.15 * (min(max(e, -bound), bound) - s[A8]))
    scale = unit_of(s[SD], s[MU] + s[BASE])
    if asked[PATTERN] and s[FRESH] >= PATTERN_LENGTH and s[USED] > 0:
        stat[OF_PATTERN] = math.sqrt(
            nearest_of(v, scale, s, recent, held.patterns[one])[0] / PATTERN_LENGTH
        )
    if asked[DISCORD]:
        discord(v, scale, s, room, one, stat)
    if asked[VALUES]:
        look_at_value(v, s, held.cells[one], stat)
    return r


@compiled
def absorb(one: int, sample: Sample, room: Room, stat: Float64Array, rarity: Float64Array) -> None:
    """Learn a sample of row `one` that was examined and judged."""
    asked, held = room.asked, room.held
    value, phase, weight = sample.value, sample.phase, sample.weight
    seen, s = held.seen[one], held.scalar[one]
    if seen == 0:
        s[BASE] = value
    v = value - s[BASE]
    recent, residual = held.recent[one], held.residual[one]
    for place in range(COUNT):
        if stat[place] == stat[place]:
            count_in(
                stat[place], rarity[place], weight, held.histogram[one], held.total[one], place
            )
    if asked[PATTERN] and seen >= 10 and s[FRESH] >= PATTERN_LENGTH:
        learn_pattern(v, weight, s, recent, held.patterns[one], held.uses[one])
    if asked[DISCORD]:
        remember(v, weight < 0.5, s, held, one, room.scratch)
    r = learn_season(v, phase, weight, s, held.profile[one])
    if asked[FORETOLD]:
        learn_forecast(r, weight, s, residual, held.weights[one], held.covariance[one])
    learn_residual(r, weight, s, residual[RECENT - 1])
    if asked[VALUES]:
        learn_value(v, weight, s, recent[RECENT - 1], seen, held.cells[one])
    learn_levels(v, weight, seen, s, recent[RECENT - 1])
    for place in range(RECENT - 1):
        recent[place], residual[place] = recent[place + 1], residual[place + 1]
    recent[RECENT - 1], residual[RECENT - 1] = v, r
    s[FRESH] += 1
    held.seen[one] = seen + 1
