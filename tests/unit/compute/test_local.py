"""The in-process host: rounds, partitions, and state that survives or is refused."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from dos.compute.base import VIRTUAL_SHARDS, shard_of
from dos.compute.local import LocalHost
from dos.detect.engine import DetectConfig, DetectKernel, EngineState
from dos.kit.errors import CorruptDataError
from dos.model.ids import EntityId, SeriesId
from dos.model.telemetry import MetricBatch, Role, SeriesSpec
from tests.unit.detect.watch import MONDAY, interned

SPECS = [SeriesSpec(entity=EntityId(f"s-{i}"), metric="m", role=Role.OTHER) for i in range(600)]


def host(partitions: int = 1, count: int = len(SPECS)) -> LocalHost[EngineState]:
    made: LocalHost[EngineState] = LocalHost(DetectKernel(DetectConfig()), partitions)
    made.register(interned(SPECS[:count]))
    return made


def samples(*triples: tuple[int, int, float]) -> MetricBatch:
    series, at, value = zip(*triples, strict=True)
    return MetricBatch(
        series_id=np.array(series, np.int32),
        timestamp=MONDAY + np.array(at, np.int64),
        value=np.array(value, np.float64),
    )


def newest(one: LocalHost[EngineState]) -> dict[int, float]:
    values: dict[int, float] = {}
    for state in one.states:
        ids, value = state.engine["id"], state.engine["value"]
        values |= {int(i): float(v) for i, v in zip(ids, value, strict=True)}
    return values


def test_shards_are_the_same_on_every_machine_and_evenly_used() -> None:
    spec = SeriesSpec(entity=EntityId("shop/cart"), metric="latency", labels=(("code", "500"),))
    assert shard_of(spec) == 3
    other = SeriesSpec(entity=EntityId("shop/cart"), metric="errors", role=Role.ERRORS)
    assert shard_of(other) == 3, "all series of an entity are in one shard"
    shards = Counter(shard_of(spec) for spec in SPECS)
    assert set(shards) <= set(range(VIRTUAL_SHARDS))
    assert len(shards) > 200
    assert max(shards.values()) < 12


@pytest.mark.parametrize("partitions", [0, 257])
def test_partitions_beyond_the_shards_are_refused(partitions: int) -> None:
    with pytest.raises(ValueError, match="1 to 256"):
        host(partitions)


@pytest.mark.parametrize("partitions", [1, 4, 256])
def test_every_sample_reaches_its_own_series(partitions: int) -> None:
    one = host(partitions)
    one.step(samples(*((i, 0, float(i)) for i in reversed(range(600)))))
    assert newest(one) == {i: float(i) for i in range(600)}
    assert len(one) == 600


def test_series_may_come_later() -> None:
    one = host(4, count=10)
    one.step(samples((9, 0, 1.0)))
    one.register(interned(SPECS)[10:])
    one.register([])
    one.step(samples((9, 1, 2.0), (599, 1, 3.0)))
    assert newest(one)[9] == 2.0
    assert newest(one)[599] == 3.0


def test_samples_of_one_series_are_taken_in_order_of_time() -> None:
    one = host(count=3)
    one.step(samples((1, 30, 3.0), (0, 10, 1.0), (1, 10, 1.0), (1, 20, 2.0), (2, 5, 9.0)))
    assert newest(one) == {0: 1.0, 1: 3.0, 2: 9.0}
    assert one.states[0].detector["count"].tolist() == [1, 3, 1]


def test_an_empty_batch_finds_nothing() -> None:
    assert len(host().step(MetricBatch.empty())) == 0


def test_findings_are_in_order_of_time_then_series() -> None:
    one = host(4)
    for at in range(30):
        one.step(samples(*((i, at * 15_000, 10.0) for i in range(40))))
    late = [(i, (30 + k + i % 3) * 15_000, 99.0) for i in range(40) for k in range(5)]
    findings = one.step(samples(*late))
    keys = list(zip(findings.timestamp.tolist(), findings.series_id.tolist(), strict=True))
    assert len(keys) == 40
    assert keys == sorted(keys)


def test_a_damaged_state_is_refused_and_nothing_is_taken_over() -> None:
    data = host(4, count=50).dump()
    for cut in (0, 2, 4, 9, len(data) // 2, len(data) - 1):
        fresh = host(4, count=0)
        with pytest.raises(CorruptDataError):
            fresh.load(data[:cut], interned(SPECS[:50]))
        assert len(fresh) == 0


def test_another_number_of_partitions_is_refused() -> None:
    with pytest.raises(CorruptDataError, match="4 partitions, this host 1"):
        host(1, count=0).load(host(4).dump(), interned(SPECS))


@pytest.mark.parametrize("partitions", [1, 4, 256])
def test_what_is_settled_and_lasts_is_found_anew(partitions: int) -> None:
    one = host(partitions, count=40)
    for at in range(30):
        one.step(samples(*((i, at * 15_000, 10.0) for i in range(40))))

    def trouble(start: int) -> list[tuple[int, bool]]:
        late = [(i, (start + k) * 15_000, 99.0) for i in range(40) for k in range(5)]
        found = one.step(samples(*late))
        return list(zip(found.series_id.tolist(), found.started.tolist(), strict=True))

    assert trouble(30) == [(i, True) for i in range(40)]
    assert trouble(40) == []
    for series in (7, 3):
        one.settle(SeriesId(series))
    assert trouble(60) == [(3, True), (7, True)]


def test_a_reset_host_has_the_series_and_no_past() -> None:
    one = host(4, count=50)
    one.step(samples((7, 0, 1.0)))
    one.reset(interned(SPECS[:50]))
    assert one.dump() == host(4, count=50).dump()
