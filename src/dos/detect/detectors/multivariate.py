"""Multivariate: the metrics of one service do not go together as they usually do.

Each series is put on robust deviations from its own level, and the deviations of a service's
series at one time form a vector. Their covariance is an exponentially weighted average of outer
products of clipped deviations (a Huber-type estimate of scatter; Maronna, *Robust M-estimators of
multivariate location and scatter*, Annals of Statistics 4, 1976), shrunk towards the identity
(Ledoit & Wolf, *A well-conditioned estimator for large-dimensional covariance matrices*, J.
Multivariate Analysis 88, 2004, eq. 14, here with a share that falls with the samples seen). The
statistic is the squared Mahalanobis distance of the vector over its dimension, as its cube root,
which is nearly normal (Wilson & Hilferty, PNAS 17, 1931), against its own past.

What contributed is told by the precision matrix P: (P z)_i / P_ii is how far series i is from
what the others make of it, and sqrt(P_ii) turns it into a deviation. The series that is farthest
takes the deviation of the service, others as much less as they are nearer; the band is what the
other series let expect.

Members are the series of an entity without a replica's label, the first 16 by how much they
matter. Samples of one batch belong together; of a member without a sample in it the newest one
counts while it is fresh, and a member without is left out.

    >>> import numpy as np
    >>> from dos.testing.detectors import deviations
    >>> rng = np.random.default_rng(1)
    >>> load = rng.normal(0.0, 1.0, (600, 1))
    >>> values = 50.0 + 5.0 * load + rng.normal(0.0, 1.0, (600, 4))  # all follow one load
    >>> values[500, 0] += 10.0  # each within two sigmas of its own, but never seen together
    >>> values[500, 1] -= 10.0
    >>> z = deviations("multivariate", values)
    >>> bool(abs(z[:500]).max() < 6.0), bool(abs(z[500]).max() > 6.0)
    (True, True)
    >>> int(abs(z[500]).argmax()) in (0, 1)
    True

State: 231 bytes a series. Cost: inverse of a matrix of up to 16 rows a service, twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dos.detect.base import Scored
from dos.detect.columns import Column, Columns
from dos.detect.robust import (
    FLOORS,
    Calibration,
    Pace,
    begin_again,
    clipped,
    floor_of,
    real,
    scaled,
    set_floors,
    unscaled,
    usable,
    whole,
)
from dos.kit.compiled import compiled
from dos.kit.plugins import Plugin
from dos.model.telemetry import (
    BoolArray,
    Float64Array,
    Int32Array,
    Int64Array,
    Role,
    Series,
    SeriesSpec,
)

_MOST = 16
"""Series of an entity that are looked at together."""
_LEAST = 0.05
"""Smallest spread of the cube root of the distance that is believed."""
_FARTHEST = 20.0
"""Deviations are clipped here before they are put together."""
_STEADY = 0.5
"""Smallest variance of a deviation that is believed; a normal one's is 1."""
_CLIP = 3.0
"""Deviations are clipped here before the covariance learns them."""
_MATTERS = (Role.LATENCY, Role.ERRORS, Role.AVAILABILITY, Role.TRAFFIC, Role.SATURATION, Role.OTHER)
"""Who becomes a member first."""
_LINKS = ("group", "leader", "slot", "size", "member")
"""Columns that say who belongs together."""


class Config(BaseModel):
    """Parameters of the multivariate detector."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    replicas: str = "k8s.replica,k8s.pod.name,pod,service.instance.id,instance"
    """Labels that name a replica, separated by commas: series that have one are left out."""
    least: int = Field(default=3, ge=2, le=_MOST)
    """Members that must have reported."""
    fresh: float = Field(default=3.0, ge=0, le=1000)
    """Intervals for which a sample of a member counts."""
    level_half_life: int = Field(default=120, ge=2, le=100_000)
    """Samples after which half of what is known of a series' level is forgotten."""
    half_life: int = Field(default=720, ge=2, le=100_000)
    """Samples after which half of what is known of the covariance is forgotten."""
    shrinkage: float = Field(default=0.02, gt=0, le=1)
    """Share of the identity in the covariance, at least."""
    warm_up: int = Field(default=90, ge=3, le=100_000)
    """Vectors that must be known before one is judged."""


class Multivariate:
    """See the module's text."""

    name = "multivariate"
    version = "1"

    def __init__(self, config: Config) -> None:
        self._config = config
        self._replicas = {label.strip() for label in config.replicas.split(",")}
        self._rate = 1.0 - 0.5 ** (1.0 / config.half_life)
        self._pace = Pace()
        self._value = Calibration(prefix="value", half_life=config.level_half_life, warm_up=24)
        self._usual = Calibration(
            prefix="usual", half_life=config.half_life, warm_up=config.warm_up
        )

    def layout(self) -> Mapping[str, Column]:
        """Who belongs together, each series' level, and its row of the covariance.

        `leader` counts rows from the row itself to the first member of its entity, `member` from
        the first to each; `slot` is the place among the members, -1 for none. `size` and `usual`
        are the leader's.
        """
        return {
            **FLOORS,
            **self._pace.layout(),
            **self._value.layout(),
            **self._usual.layout(),
            "count": Column(dtype="<i8"),
            "group": Column(dtype="<i8"),
            "leader": Column(dtype="<i4"),
            "slot": Column(dtype="|i1", initial=-1),
            "size": Column(dtype="|i1"),
            "member": Column(dtype="<i4", width=_MOST),
            "newest": Column(dtype="<f8"),
            "covariance": Column(dtype="<f4", width=_MOST),
        }

    def prepare(self, columns: Columns, first: int, series: Sequence[Series]) -> None:
        """Take scale and floors from role and unit, and put series into their groups."""
        set_floors(columns, first, series)
        groups = np.array([self._group_of(one.spec) for one in series], np.int64)
        group, slot, size = (whole(columns, name) for name in ("group", "slot", "size"))
        leads = (slot[:first] == 0) & np.isin(group[:first], groups[groups != 0])
        leaders = {int(group[row]): int(row) for row in np.flatnonzero(leads)}
        group[first : first + len(groups)] = groups
        matters = np.argsort([_MATTERS.index(one.spec.role) for one in series], kind="stable")
        for place in matters.tolist():
            mine, row = int(groups[place]), first + place
            if not mine:
                continue
            leader = leaders.setdefault(mine, row)
            if size[leader] < _MOST:
                slot[row] = size[leader]
                whole(columns, "leader")[row] = leader - row
                whole(columns, "member")[leader, slot[row]] = row - leader
                size[leader] += 1

    def score(
        self, columns: Columns, row: Int32Array, timestamp: Int64Array, value: Float64Array
    ) -> Scored:
        """Distance of each entity's vector, shared out to its series."""
        seen = self._together(columns, row, timestamp, value)
        leader = row + whole(columns, "leader")[row].astype(np.int32)
        surplus = np.maximum(seen.distance - self._usual.level(columns, leader), 0.0)
        strange = surplus / self._usual.sigma(columns, leader, _LEAST)
        level = self._value.level(columns, row)
        sigma = self._value.sigma(columns, row, floor_of(columns, row, level))
        ready = seen.known & self._usual.ready(columns, leader)
        deviation = np.sign(seen.residual) * seen.share * strange
        standard = (scaled(columns, row, np.where(ready, value, 0.0)) - level) / sigma
        expected = np.clip(standard, -_FARTHEST, _FARTHEST) - seen.residual
        return Scored(
            deviation=clipped(np.where(ready, deviation, 0.0)),
            expected=level + sigma * expected,
            sigma=sigma * seen.deviation,
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
        """Learn distances, covariances and levels; a group is as normal as its least normal."""
        use = usable(value)
        row, timestamp, value, weight = row[use], timestamp[use], value[use], weight[use]
        begin_again(columns, self.layout(), row, keep=(*FLOORS, *_LINKS))
        seen = self._together(columns, row, timestamp, value)
        leader = row + whole(columns, "leader")[row].astype(np.int32)
        known = seen.known
        leaders, back = np.unique(leader[known], return_inverse=True)
        least, distance = np.ones(len(leaders)), np.zeros(len(leaders))
        np.minimum.at(least, back, weight[known])
        distance[back] = seen.distance[known]
        self._usual.learn(columns, leaders, distance, least, _LEAST)
        standard, steady = self._standard(columns, row, value)
        worth = weight.copy()
        worth[known] = least[back]
        rate = np.where(steady, np.maximum(self._rate, 1.0 / (1.0 + self._age(columns, row))), 0.0)
        _covary(row, timestamp, np.clip(standard, -_CLIP, _CLIP), rate * worth, self._held(columns))
        judged = scaled(columns, row, value)
        self._value.learn(columns, row, judged, weight, floor_of(columns, row, judged))
        real(columns, "newest")[row] = standard
        self._pace.learn(columns, row, timestamp)
        whole(columns, "count")[row] += 1

    def to_unit(self, columns: Columns, row: Int32Array, scaled: Float64Array) -> Float64Array:
        """Undo the log scale."""
        return unscaled(columns, row, scaled)

    def _age(self, columns: Columns, row: Int32Array) -> Float64Array:
        """Samples since the level was known."""
        age = whole(columns, "count")[row] - self._value.warm_up
        return np.maximum(age.astype(np.float64), 0.0)

    def _standard(
        self, columns: Columns, row: Int32Array, value: Float64Array
    ) -> tuple[Float64Array, BoolArray]:
        """Robust deviation of each sample from its series' level, and whether that is known."""
        level = self._value.level(columns, row)
        sigma = self._value.sigma(columns, row, floor_of(columns, row, level))
        steady = usable(value) & self._value.ready(columns, row)
        steady &= whole(columns, "slot")[row] >= 0
        standard = (scaled(columns, row, value) - level) / sigma
        return np.where(steady, np.clip(standard, -_FARTHEST, _FARTHEST), 0.0), steady

    def _together(
        self, columns: Columns, row: Int32Array, timestamp: Int64Array, value: Float64Array
    ) -> _Seen:
        """Each sample beside the others of its entity."""
        standard, known = self._standard(columns, row, value)
        config = self._config
        table = _distances(
            row, timestamp, standard, known, self._held(columns), (config.least, config.shrinkage)
        )
        return _Seen(table[0], table[1], table[2], table[3], known)

    def _held(self, columns: Columns) -> _Held:
        return _Held(
            leader=whole(columns, "leader"),
            slot=whole(columns, "slot"),
            size=whole(columns, "size"),
            member=whole(columns, "member"),
            newest=real(columns, "newest"),
            last=whole(columns, "last"),
            interval=real(columns, "interval"),
            steady=whole(columns, "value_count"),
            vectors=whole(columns, "usual_count"),
            covariance=real(columns, "covariance"),
            fresh=self._config.fresh,
            warm_up=self._value.warm_up,
        )

    def _group_of(self, spec: SeriesSpec) -> int:
        """A number for the entity; 0 for a series of one replica."""
        if any(name in self._replicas for name, _ in spec.labels):
            return 0
        digest = hashlib.blake2b(spec.entity.encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big", signed=True)


class _Seen(NamedTuple):
    """Samples beside the others of their entity, in columns `[sample]`."""

    distance: Float64Array
    """Cube root of the squared distance of the entity's vector over its dimension."""
    residual: Float64Array
    """Deviation from what the others let expect, in sigmas of the series."""
    deviation: Float64Array
    """Standard deviation of the residual, in the same."""
    share: Float64Array
    """How far the series is, 1 for the farthest of the entity."""
    known: BoolArray


class _Held(NamedTuple):
    """What is known of every row."""

    leader: Int64Array
    slot: Int64Array
    size: Int64Array
    member: Int64Array
    newest: Float64Array
    last: Int64Array
    interval: Float64Array
    steady: Int64Array
    """Samples that the level was learned from."""
    vectors: Int64Array
    """Of the leader: vectors that were learned."""
    covariance: Float64Array
    fresh: float
    """Intervals for which `newest` counts."""
    warm_up: int
    """Samples after which a level is known."""


class _Vector(NamedTuple):
    """Scratch for one entity."""

    row: Int64Array
    slot: Int64Array
    value: Float64Array
    matrix: Float64Array


@compiled
def _places(row: Int32Array, known: BoolArray, rows: int) -> Int64Array:
    """`[row]` position of each row in the batch, -1 for those without a sample."""
    place = np.full(rows, -1)
    for at in range(len(row)):
        if known[at]:
            place[row[at]] = at
    return place


@compiled
def _gather(
    first: int, now: int, place: Int64Array, value: Float64Array, held: _Held, into: _Vector
) -> int:
    """The vector of the entity whose first member is in row `first`; its dimension."""
    count = 0
    for slot in range(held.size[first]):
        one = first + held.member[first, slot]
        there = place[one] >= 0
        age = now - held.last[one]
        fresh = held.interval[one] > 0 and 0 <= age <= held.fresh * held.interval[one]
        if there or (fresh and held.steady[one] >= held.warm_up):
            into.row[count] = one
            into.slot[count] = slot
            into.value[count] = value[place[one]] if there else held.newest[one]
            count += 1
    return count


@compiled
def _invert(matrix: Float64Array, count: int) -> None:
    """Inverse of a positive definite matrix in place (Gauss and Jordan, no pivoting needed)."""
    for pivot in range(count):
        head = max(matrix[pivot, pivot], 1e-6)
        matrix[pivot, pivot] = 1.0
        for column in range(count):
            matrix[pivot, column] /= head
        for other in range(count):
            if other != pivot:
                factor = matrix[other, pivot]
                matrix[other, pivot] = 0.0
                for column in range(count):
                    matrix[other, column] -= factor * matrix[pivot, column]


@compiled
def _precision(held: _Held, vector: _Vector, count: int, shrinkage: float) -> None:
    """Fill `vector.matrix` with the inverse of the shrunk covariance of its members."""
    for one in range(count):
        for two in range(one + 1):
            learned = held.covariance[vector.row[one], vector.slot[two]]
            if one == two:
                # A count that seldom changes strays by less than a sigma; its steps are no news.
                learned = max(learned, _STEADY)
            value = (1.0 - shrinkage) * learned + (shrinkage if one == two else 0.0)
            vector.matrix[one, two] = value
            vector.matrix[two, one] = value
    _invert(vector.matrix, count)


@compiled
def _distances(
    row: Int32Array,
    timestamp: Int64Array,
    value: Float64Array,
    known: BoolArray,
    held: _Held,
    config: tuple[int, float],
) -> Float64Array:
    """Distance, residual, its deviation and share, `[4, sample]`; `config`: least, shrinkage.

    `known` becomes False where too few members have reported.
    """
    table = np.ones((4, len(row)))
    place = _places(row, known, len(held.slot))
    size = held.member.shape[1]
    vector = _Vector(
        np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size), np.empty((size, size))
    )
    residual, spread = np.empty(size), np.empty(size)
    done = np.zeros(len(row), np.bool_)
    for at in range(len(row)):
        if not known[at] or done[at]:
            continue
        first = int(row[at] + held.leader[row[at]])
        count = _gather(first, timestamp[at], place, value, held, vector)
        shrinkage = max(config[1], count / (count + held.vectors[first]))
        _precision(held, vector, count, shrinkage)
        square, farthest = 0.0, 1e-9
        for one in range(count):
            pull = 0.0
            for two in range(count):
                pull += vector.matrix[one, two] * vector.value[two]
            square += pull * vector.value[one]
            inverse = max(vector.matrix[one, one], 1e-9)
            residual[one] = pull / inverse
            spread[one] = 1.0 / np.sqrt(inverse)
            farthest = max(farthest, abs(residual[one]) / spread[one])
        distance = (max(square, 0.0) / count) ** (1.0 / 3.0)
        for one in range(count):
            mine = place[vector.row[one]]
            if mine >= 0:
                done[mine] = True
                known[mine] = count >= config[0]
                table[0, mine] = distance
                table[1, mine] = residual[one]
                table[2, mine] = spread[one]
                table[3, mine] = abs(residual[one]) / spread[one] / farthest
    return table


@compiled
def _covary(
    row: Int32Array, timestamp: Int64Array, value: Float64Array, rate: Float64Array, held: _Held
) -> None:
    """Move the covariances of each sample with those of its entity towards their products.

    The covariance of two members is in the row of the one with the larger slot.
    """
    place = _places(row, rate > 0.0, len(held.slot))
    size = held.member.shape[1]
    vector = _Vector(
        np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size), np.empty((1, 1))
    )
    for at in range(len(row)):
        if rate[at] <= 0.0:
            continue
        first = row[at] + held.leader[row[at]]
        slot = held.slot[row[at]]
        for one in range(_gather(first, timestamp[at], place, value, held, vector)):
            other = vector.slot[one]
            if other > slot and place[vector.row[one]] >= 0:
                continue  # it does it itself
            into = row[at] if other <= slot else vector.row[one]
            low = min(slot, other)
            near = min(max(vector.value[one], -_CLIP), _CLIP)
            step = value[at] * near - held.covariance[into, low]
            held.covariance[into, low] += rate[at] * step


PLUGIN = Plugin(Config, Multivariate)
