"""Peer group: one replica behaves unlike its siblings.

Replicas of a service share its load, so what all of them do at the same time (a surge, a night, a
slow dependency) is no news about one of them. Each replica is compared with the median of its
group at the same time, as in peer group analysis (Bolton & Hand, *Unsupervised profiling methods
for fraud detection*, 2001): the statistic is the difference over the level of the group. What is
usual for a replica, which may always get a bit more, is learned and taken off, and the yardstick
is the largest of how much the replica's own difference varies, how far the group is scattered at
the moment (median absolute deviation), and what is small for the metric. If half of the group
goes astray, nobody is odd.

Peers are series that differ in nothing but a label that names the replica. Samples of one batch
belong together; of a peer without a sample in it the newest one counts while it is fresh.

    >>> import numpy as np
    >>> from dos.model.ids import EntityId
    >>> from dos.model.telemetry import SeriesSpec
    >>> from dos.testing.detectors import deviations
    >>> specs = [
    ...     SeriesSpec(entity=EntityId("cart"), metric="cpu", labels=(("pod", f"cart-{n}"),))
    ...     for n in range(4)
    ... ]
    >>> load = 100.0 + 50.0 * np.sin(np.arange(300) / 40.0)
    >>> load[200:] *= 3.0  # a surge that all of them get
    >>> cpu = load[:, None] * np.random.default_rng(1).normal(1.0, 0.02, (300, 4))
    >>> cpu[250:, 2] *= 1.5
    >>> z = deviations("peer_group", cpu, specs=specs)
    >>> bool(abs(z[:250]).max() < 6.0), bool(z[250:, 2].min() > 6.0)
    (True, True)
    >>> bool(abs(z[250:, [0, 1, 3]]).max() < 6.0)
    True

State: 85 bytes a series. Cost: two medians of each group a tick, twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

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
    Series,
    SeriesSpec,
)

_MAD_TO_SIGMA = 1.4826
"""Sigma of a normal distribution over its median absolute deviation."""
_TINY = 1e-9
_LINKS = ("group", "leader", "next")
"""Columns that say who belongs together."""


class Config(BaseModel):
    """Parameters of the peer group."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    labels: str = "k8s.replica,k8s.pod.name,pod,service.instance.id,instance"
    """Labels that name a replica, separated by commas."""
    peers: int = Field(default=2, ge=1, le=1000)
    """Others that must have reported; of one other alone nobody can say which of the two is odd."""
    fresh: float = Field(default=3.0, ge=0, le=1000)
    """Intervals for which a sample of a peer counts."""
    half_life: int = Field(default=240, ge=2, le=100_000)
    """Samples after which half of what is known of the usual difference is forgotten."""
    warm_up: int = Field(default=24, ge=3, le=100_000)
    """Differences that must be known before one is judged."""


class PeerGroup:
    """See the module's text."""

    name = "peer_group"
    version = "1"

    def __init__(self, config: Config) -> None:
        self._config = config
        self._labels = {label.strip() for label in config.labels.split(",")}
        self._pace = Pace()
        self._usual = Calibration(
            prefix="usual", half_life=config.half_life, warm_up=config.warm_up
        )

    def layout(self) -> Mapping[str, Column]:
        """Who the peers are, the newest sample, and the usual difference.

        `leader` and `next` count rows from the row itself to the first and to the next member of
        its group; 0 ends the chain.
        """
        return {
            **FLOORS,
            **self._pace.layout(),
            **self._usual.layout(),
            "count": Column(dtype="<i8"),
            "group": Column(dtype="<i8"),
            "leader": Column(dtype="<i4"),
            "next": Column(dtype="<i4"),
            "newest": Column(dtype="<f8"),
        }

    def prepare(self, columns: Columns, first: int, series: Sequence[Series]) -> None:
        """Take scale and floors from role and unit, and put replicas into their groups."""
        set_floors(columns, first, series)
        groups = np.array([self._group_of(one.spec) for one in series], np.int64)
        group = whole(columns, "group")
        known = np.flatnonzero(np.isin(group[:first], groups[groups != 0]))
        last = {int(group[row]): int(row) for row in known}
        group[first : first + len(groups)] = groups
        leader, following = whole(columns, "leader"), whole(columns, "next")
        for row, mine in enumerate(groups.tolist(), first):
            if mine and mine in last:
                before = last[mine]
                following[before] = row - before
                leader[row] = leader[before] + before - row
            last[mine] = row

    def score(
        self, columns: Columns, row: Int32Array, timestamp: Int64Array, value: Float64Array
    ) -> Scored:
        """Difference of each replica to its group, against what is usual."""
        seen = self._compare(columns, row, timestamp, value)
        sigma = self._usual.sigma(columns, row, np.maximum(seen.floor, seen.scatter))
        usual = self._usual.level(columns, row)
        ready = seen.known & self._usual.ready(columns, row)
        return Scored(
            deviation=clipped(np.where(ready, (seen.difference - usual) / sigma, 0.0)),
            expected=seen.middle + usual * seen.scale,
            sigma=sigma * seen.scale,
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
        """Learn the difference, and keep the sample for peers that report later."""
        use = usable(value)
        row, timestamp, value, weight = row[use], timestamp[use], value[use], weight[use]
        begin_again(columns, self.layout(), row, keep=(*FLOORS, *_LINKS))
        seen = self._compare(columns, row, timestamp, value)
        known = seen.known
        self._usual.learn(
            columns, row[known], seen.difference[known], weight[known], seen.floor[known]
        )
        real(columns, "newest")[row] = scaled(columns, row, value)
        self._pace.learn(columns, row, timestamp)
        whole(columns, "count")[row] += 1

    def to_unit(self, columns: Columns, row: Int32Array, scaled: Float64Array) -> Float64Array:
        """Undo the log scale."""
        return unscaled(columns, row, scaled)

    def _compare(
        self, columns: Columns, row: Int32Array, timestamp: Int64Array, value: Float64Array
    ) -> _Seen:
        """Each sample beside its group."""
        known = usable(value) & (whole(columns, "group")[row] != 0)
        held = _Held(
            leader=whole(columns, "leader"),
            next=whole(columns, "next"),
            newest=real(columns, "newest"),
            last=whole(columns, "last"),
            interval=real(columns, "interval"),
            usual=real(columns, "usual_level"),
            log=cast(BoolArray, columns["log"]),
            floor=real(columns, "absolute_floor"),
            fresh=self._config.fresh,
        )
        judged = scaled(columns, row, value)
        table = _beside(row, timestamp, judged, known, held, self._config.peers)
        middle, scale = table[0], table[2]
        floor = floor_of(columns, row, middle) / scale
        return _Seen(table[1], middle, scale, table[3], floor, known)

    def _group_of(self, spec: SeriesSpec) -> int:
        """A number for all that a replica has in common with its peers; 0 for what has none."""
        rest = [f"{name}={value}" for name, value in spec.labels if name not in self._labels]
        if len(rest) == len(spec.labels):
            return 0
        text = "\x1e".join([spec.entity, spec.metric, *rest]).encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big", signed=True)


class _Seen(NamedTuple):
    """Samples beside their groups, in columns `[sample]`."""

    difference: Float64Array
    """From `middle`, over `scale`."""
    middle: Float64Array
    """Median of the group without what is usual for each of its members."""
    scale: Float64Array
    """Level of the group, but never small against the metric's floor; 1 on the log scale."""
    scatter: Float64Array
    """Robust spread of differences within the group, without what is usual for each replica."""
    floor: Float64Array
    """Smallest spread that means anything."""
    known: BoolArray


class _Held(NamedTuple):
    """What is known of every row."""

    leader: Int64Array
    next: Int64Array
    newest: Float64Array
    last: Int64Array
    interval: Float64Array
    usual: Float64Array
    log: BoolArray
    floor: Float64Array
    fresh: float
    """Intervals for which `newest` counts."""


@compiled
def _gather(
    first: int,
    now: int,
    place: Int64Array,
    value: Float64Array,
    held: _Held,
    into: tuple[Int64Array, Float64Array],
) -> int:
    """Rows and values of the members that have one, along the chain from `first`; how many."""
    members, values = into
    count = 0
    one = first
    while True:
        there = place[one] >= 0
        age = now - held.last[one]
        if there or (held.interval[one] > 0 and 0 <= age <= held.fresh * held.interval[one]):
            members[count] = one
            values[count] = value[place[one]] if there else held.newest[one]
            count += 1
        if held.next[one] == 0:
            return count
        one += held.next[one]


@compiled
def _beside(
    row: Int32Array,
    timestamp: Int64Array,
    value: Float64Array,
    known: BoolArray,
    held: _Held,
    peers: int,
) -> Float64Array:
    """Middle of the group, difference to it, scale, and scatter, `[4, sample]`.

    `known` becomes False where too few peers have reported.
    """
    table = np.zeros((4, len(row)))
    table[2] = 1.0
    place = np.full(len(held.leader), -1)
    for at in range(len(row)):
        if known[at]:
            place[row[at]] = at
    done = np.zeros(len(row), np.bool_)
    chain, sizes = np.empty(len(held.leader), np.int64), np.empty(len(held.leader))
    for at in range(len(row)):
        if not known[at] or done[at]:
            continue
        first = row[at] + held.leader[row[at]]
        count = _gather(first, timestamp[at], place, value, held, (chain, sizes))
        members, values = chain[:count], sizes[:count]
        scale = 1.0
        if not held.log[first]:
            scale = abs(np.median(values)) + 2.0 * held.floor[first] + _TINY
        # Without what is usual for each, members are alike, whichever of them is in the middle.
        middle = np.median(values - held.usual[members] * scale)
        difference = (values - middle) / scale
        scatter = _MAD_TO_SIGMA * np.median(np.abs(difference - held.usual[members]))
        for which in range(len(members)):
            mine = place[members[which]]
            if mine >= 0:
                done[mine] = True
                known[mine] = len(members) > peers
                table[0, mine] = middle
                table[1, mine] = difference[which]
                table[2, mine] = scale
                table[3, mine] = scatter
    return table


PLUGIN = Plugin(Config, PeerGroup)
