"""A stretch of samples at once: what one tick after the other gives, to the byte."""

from __future__ import annotations

import numpy as np
import pytest

from dos.compute.local import LocalHost
from dos.detect.engine import DetectConfig, DetectKernel, EngineState
from dos.kit.clock import SECOND
from dos.model.telemetry import MetricBatch
from tests.unit.detect.watch import ALL, MONDAY, interned

TICKS = 400


def samples(missing: float) -> list[MetricBatch]:
    """One batch a tick; some series have no sample at some ticks, and one goes wild for a while."""
    rng = np.random.default_rng(11)
    ticks = []
    for tick in range(TICKS):
        ids = np.flatnonzero(rng.random(len(ALL)) >= missing).astype(np.int32)
        value = 0.2 * np.exp(0.05 * rng.standard_normal(len(ids)))
        value[ids == 0] *= 6.0 if 200 <= tick < 240 else 1.0
        at = np.full(len(ids), MONDAY + 15 * tick * SECOND, np.int64)
        ticks.append(MetricBatch(series_id=ids, timestamp=at, value=value))
    return ticks


def host(partitions: int, config: DetectConfig) -> LocalHost[EngineState]:
    made = LocalHost(DetectKernel(config), partitions)
    made.register(interned(ALL))
    return made


@pytest.mark.parametrize("missing", [0.0, 0.1, 0.7])
@pytest.mark.parametrize("partitions", [1, 3])
@pytest.mark.parametrize("block", [5, 64, TICKS])
def test_a_block_is_its_ticks(missing: float, partitions: int, block: int) -> None:
    config = DetectConfig()
    one, other = host(partitions, config), host(partitions, config)
    ticks = samples(missing)
    found = [finding for tick in ticks for finding in one.step(tick).timestamp.tolist()]
    blocks = [MetricBatch.joined(ticks[at : at + block]) for at in range(0, TICKS, block)]
    again = [finding for each in blocks for finding in other.step(each).timestamp.tolist()]
    assert found == again
    assert found
    assert one.dump() == other.dump()


@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_a_block_in_any_order_is_its_ticks_and_a_loud_one_can_be_taken_back(missing: float) -> None:
    config = DetectConfig()
    one, other = host(1, config), host(1, config)
    ticks = samples(missing)
    for tick in ticks:
        one.step(tick)
    whole = MetricBatch.joined(ticks)
    order = np.random.default_rng(3).permutation(len(whole))
    mixed = MetricBatch(
        series_id=whole.series_id[order],
        timestamp=whole.timestamp[order],
        value=whole.value[order],
    )
    before = other.dump()
    assert not other.step_if_quiet(mixed)
    assert other.dump() == before
    other.step(mixed)
    assert one.dump() == other.dump()
