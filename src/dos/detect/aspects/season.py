"""The shape of the day: level and spread of each five minutes, compared over five slots.

The residual is taken from the day's shape where that foretells the series better than its level
does, so that series without a day lose nothing.
"""

from __future__ import annotations

from dos.detect.aspects.scale import unit_of, within
from dos.detect.aspects.state import (
    BASE,
    DAY_SEEN,
    DAY_SPREAD,
    ERR0,
    ERR1,
    EW60,
    LONG,
    OF_SEASON,
    OFFSET,
    RAW_SPREAD,
    SLOT,
    SLOTS,
    SUM,
    SUM_DIFF,
    SUMMED,
)
from dos.kit.compiled import compiled
from dos.model.telemetry import Float32Array, Float64Array


@compiled
def usual_at(phase: float, profile: Float32Array) -> tuple[float, float, float]:
    """Expected value and spread at a time of day, over five slots; whether the slot is known."""
    slot = min(int(phase), SLOTS - 1)
    if profile[2 * SLOTS + slot] <= 0:
        return 0.0, 0.0, 0.0
    total, level, spread = 0.0, 0.0, 0.0
    for off in range(-2, 3):
        other = (slot + off) % SLOTS
        if profile[2 * SLOTS + other] > 0:
            share = 1.0 / (1.0 + abs(off))
            total += share
            level += share * profile[other]
            spread += share * profile[SLOTS + other]
    return level / total, spread / total, 1.0


@compiled
def season(
    v: float, phase: float, s: Float64Array, profile: Float32Array, stat: Float64Array
) -> float:
    """The residual: from the time of day where that foretells better than the level does."""
    level, spread, known = usual_at(phase, profile)
    if known == 0 or s[DAY_SEEN] <= 20:
        return float(v - s[EW60])
    away = v - level - s[OFFSET]
    trust = 0.2 if s[ERR1] > 1.5 * s[ERR0] else 1.0
    tiny = unit_of(0.0, s[LONG] + s[BASE])
    stat[OF_SEASON] = trust * abs(away) / max(s[DAY_SPREAD], tiny)
    stat[OF_SEASON + 1] = abs(v - level) / max(s[RAW_SPREAD], tiny)
    stat[OF_SEASON + 2] = abs(away) / max(spread, 0.1 * s[DAY_SPREAD] + tiny)
    return float(away if s[ERR1] < 0.9 * s[ERR0] else v - s[EW60])


@compiled
def learn_season(
    v: float, phase: float, weight: float, s: Float64Array, profile: Float32Array
) -> float:
    """Take a sample into the shape of the day; its residual."""
    slot = min(int(phase), SLOTS - 1)
    if slot != int(s[SLOT]) - 1:
        if s[SUMMED] > 0:
            old = int(s[SLOT]) - 1
            visits = profile[2 * SLOTS + old] + 1
            profile[2 * SLOTS + old] = min(visits, 1000.0)
            rate = max(1.0 / visits, 0.2)
            profile[old] += rate * (s[SUM] / s[SUMMED] - profile[old])
            diff = s[SUM_DIFF] / s[SUMMED]
            profile[SLOTS + old] += rate * (diff - profile[SLOTS + old])
        s[SUM] = s[SUM_DIFF] = s[SUMMED] = 0.0
        s[SLOT] = slot + 1
    level, _, known = usual_at(phase, profile)
    plain = v - s[EW60]
    residual, counted = plain, plain
    if known > 0:
        seen = s[DAY_SEEN]
        raw = v - level
        away = raw - s[OFFSET]
        if seen > 20 and s[ERR1] < 0.9 * s[ERR0]:
            residual = away
        kept = within(away, 3.0 * s[DAY_SPREAD]) if seen > 20 else away
        counted = kept
        s[OFFSET] += weight * max(1.0 / (seen + 1.0), 1.0 / 60.0) * kept
        rate = weight * max(1.0 / (seen + 1.0), 1.0 / 3000.0)
        s[DAY_SPREAD] += rate * (abs(kept) - s[DAY_SPREAD])
        limit = 4.0 * s[RAW_SPREAD] + 1e-12
        s[RAW_SPREAD] += rate * ((min(abs(raw), limit) if seen > 20 else abs(raw)) - s[RAW_SPREAD])
        s[ERR0] += rate * (abs(plain) - s[ERR0])
        s[ERR1] += rate * (abs(kept) - s[ERR1])
        s[DAY_SEEN] = seen + 1
    # What is abnormal enters the day's shape as what was expected instead.
    s[SUM] += weight * v + (1.0 - weight) * (v - residual)
    s[SUM_DIFF] += abs(counted)
    s[SUMMED] += 1
    return float(residual)
