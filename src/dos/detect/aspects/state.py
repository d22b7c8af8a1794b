"""What is kept of a series that is watched closely: the columns, and what their numbers are."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from dos.detect.columns import Column, Columns
from dos.kit.clock import DAY
from dos.model.telemetry import BoolArray, Float32Array, Float64Array, Int64Array, UInt8Array

LEVEL, SEASON, RESIDUAL, FORETOLD, PATTERN, DISCORD, VALUES = range(7)
FAMILIES = {
    "level": LEVEL,
    "season": SEASON,
    "residual": RESIDUAL,
    "foretold": FORETOLD,
    "pattern": PATTERN,
    "discord": DISCORD,
    "values": VALUES,
}
STATISTICS: tuple[tuple[str, int], ...] = (
    ("distance from the level of 16 samples", LEVEL),
    ("distance from the level of 60 samples", LEVEL),
    ("distance from the level of 240 samples", LEVEL),
    ("distance from the long level", LEVEL),
    ("change since the last sample", LEVEL),
    ("shift over 4 samples", LEVEL),
    ("shift over 16 samples", LEVEL),
    ("distance from the median of 15 samples", LEVEL),
    ("distance of 16 samples from the long level", LEVEL),
    ("movement over 6 samples", LEVEL),
    ("movement over 24 samples", LEVEL),
    ("stillness over 24 samples", LEVEL),
    ("distance from the time of day", SEASON),
    ("distance from the time of day, drift included", SEASON),
    ("distance from the time of day, for its spread", SEASON),
    ("residual from its level of 60 samples", RESIDUAL),
    ("residual from its long level", RESIDUAL),
    ("shift of the residual over 16 samples", RESIDUAL),
    ("residual of 16 samples", RESIDUAL),
    ("movement of the residual over 24 samples", RESIDUAL),
    ("error of the forecast", FORETOLD),
    ("errors of 5 forecasts", FORETOLD),
    ("errors of 23 forecasts", FORETOLD),
    ("bias of 5 forecasts", FORETOLD),
    ("unlike all usual patterns of 24 samples", PATTERN),
    ("unlike any stretch of 24 samples", DISCORD),
    ("unlike any stretch of 24 samples, levels apart", DISCORD),
    ("unlike any stretch of 64 samples", DISCORD),
    ("unlike any stretch of 64 samples, levels apart", DISCORD),
    ("a rare value", VALUES),
    ("the same value for long", VALUES),
    ("beyond all values seen", VALUES),
)
"""What each statistic says, and its family."""
COUNT = len(STATISTICS)
FIRST = tuple(
    next(place for place, (_, family) in enumerate(STATISTICS) if family == wanted)
    for wanted in range(len(FAMILIES))
)
OF_LEVEL, OF_SEASON, OF_RESIDUAL, OF_FORECAST, OF_PATTERN, OF_DISCORD, OF_VALUE = FIRST

BINS = 64
"""Of a histogram of logarithms."""
LOWEST, PER_OCTAVE = -7.0, 4.0
NEEDED = 30.0
"""Samples in a histogram before it says how rare something is."""
MEMORY = 20_000.0
"""Samples that a histogram remembers."""
ODD = 2.0
"""Rarity from which a statistic's value hardly enters its own histogram."""
ODD_WEIGHT = 0.02
YOUNG = 150.0
"""Samples in a histogram at which something odd still enters it by half."""
TAIL = 0.03
"""Share of the largest values that the tail is estimated from."""
SHAPE, SHAPE_WEIGHT = 0.25, 8.0
"""Inverse tail index assumed before there are many, and how many values that weighs."""

WARM_UP = 40
"""Samples before a series is judged."""
SLOTS = 288
"""Of the day: five minutes each."""
ORDER = 8
"""Of the autoregression."""
PATTERN_LENGTH, PATTERNS = 24, 32
WINDOW, REACH = 24, 480
COARSE, COARSE_WINDOW, COARSE_REACH = 4, 16, 992
"""Windows of 64 samples are compared by means of 4, over 3,968 samples."""
SPARE = 32
"""Places by which a buffer is longer than its reach: it is moved when these are full."""
SCRATCH = 2 * max(REACH, COARSE_REACH)
"""Numbers that the comparison of windows needs for a while."""
CELLS = 64
"""Of the histogram of values."""
RECENT = 64

BASE, LONG, EW16, EW60, EW240, SPREAD, MOVE8, MOVE32 = range(8)
OFFSET, DAY_SPREAD, RAW_SPREAD, DAY_SEEN, SUM, SUM_DIFF, SUMMED, SLOT, ERR0, ERR1 = range(8, 18)
R60, RLONG, RSPREAD, RMOVE, RSEEN = range(18, 23)
ASCALE, E8, E32, A8, AMU, ASD, ASEEN = range(23, 30)
MU, SD = 30, 31
USED, USUAL, JUDGED = range(32, 35)
FILL, CSUM, CCOUNT, CFILL, CNEAR, CNEAR_M, CODD = range(35, 42)
LOW, HIGH, VALUES_SEEN, MIN, MAX, RUN = range(42, 48)
FRESH = 48
SCALARS = 49


class Tables(NamedTuple):
    """Columns, by row; those of a family that is not asked for have one number a row."""

    seen: Int64Array
    scalar: Float64Array
    histogram: Float32Array
    total: Float32Array
    recent: Float32Array
    residual: Float32Array
    profile: Float32Array
    weights: Float64Array
    covariance: Float64Array
    patterns: Float32Array
    uses: Float32Array
    past: Float32Array
    past_odd: UInt8Array
    coarse: Float32Array
    coarse_odd: UInt8Array
    cells: Float32Array


class Room(NamedTuple):
    """Where statistics are computed."""

    asked: BoolArray
    """`[family]` which ones."""
    held: Tables
    scratch: Float32Array
    """`[SCRATCH]` numbers that mean nothing afterwards."""


class Sample(NamedTuple):
    """One sample to be learned."""

    value: float
    phase: float
    weight: float
    """1 for a normal one, towards 0 for an abnormal one."""


def layout(families: Collection[int]) -> dict[str, Column]:
    """The columns that statistics of `families` need."""

    def width(family: int, count: int) -> int:
        return count if family in families else 1

    return {
        "count": Column(dtype="<i8"),
        "scalar": Column(dtype="<f8", width=SCALARS),
        "histogram": Column(dtype="<f4", width=COUNT * BINS),
        "total": Column(dtype="<f4", width=COUNT),
        "recent": Column(dtype="<f4", width=RECENT),
        "residual": Column(dtype="<f4", width=RECENT),
        "profile": Column(dtype="<f4", width=3 * SLOTS),
        "weights": Column(dtype="<f8", width=width(FORETOLD, ORDER + 1)),
        "covariance": Column(dtype="<f8", width=width(FORETOLD, (ORDER + 1) ** 2)),
        "patterns": Column(dtype="<f4", width=width(PATTERN, PATTERN_LENGTH * PATTERNS)),
        "uses": Column(dtype="<f4", width=width(PATTERN, PATTERNS)),
        "past": Column(dtype="<f4", width=width(DISCORD, REACH + SPARE)),
        "past_odd": Column(dtype="|u1", width=width(DISCORD, REACH + SPARE)),
        "coarse": Column(dtype="<f4", width=width(DISCORD, COARSE_REACH + SPARE)),
        "coarse_odd": Column(dtype="|u1", width=width(DISCORD, COARSE_REACH + SPARE)),
        "cells": Column(dtype="<f4", width=width(VALUES, CELLS)),
    }


def tables(columns: Columns) -> Tables:
    """The columns of `layout`, as the compiled functions take them."""
    names = ("count", *Tables._fields[1:])
    return Tables._make(columns[name] for name in names)


def phase_of(timestamp: Int64Array) -> Float64Array:
    """Where in the day times are, 0 to `SLOTS`."""
    return (timestamp % DAY) / DAY * SLOTS
