"""A series that stops reporting becomes an anomaly, and ends when it reports again."""

from __future__ import annotations

import numpy as np

from dos.compute.local import LocalHost
from dos.detect.engine import DetectConfig, DetectKernel, EngineState
from dos.kit.clock import SECOND
from dos.model.ids import EntityId, SeriesId
from dos.model.telemetry import MetricBatch, Role, SeriesSpec
from tests.unit.detect.watch import MONDAY, Found, interned, rows

STEP = 15 * SECOND
CONFIG = DetectConfig(beside=("missing_data",))
SPECS = [
    SeriesSpec(entity=EntityId(name), metric="request_rate", role=Role.TRAFFIC, unit="1/s")
    for name in ("cart", "checkout", "payment")
]


class Fleet:
    """Three series, of which some report."""

    def __init__(self) -> None:
        self.kernel = DetectKernel(CONFIG)
        self.host: LocalHost[EngineState] = LocalHost(self.kernel)
        self.host.register(interned(SPECS))
        self.now = MONDAY
        self.rng = np.random.default_rng(1)

    def ticks(self, count: int, *reporting: int, history: bool = False) -> list[Found]:
        """So many steps in which those series report; what is found."""
        found: list[Found] = []
        for _ in range(count):
            self.now += STEP
            batch = MetricBatch(
                series_id=np.array(reporting, np.int32),
                timestamp=np.full(len(reporting), self.now, np.int64),
                value=self.rng.normal(100.0, 3.0, len(reporting)),
            )
            found += rows(self.host.step(batch, history=history))
        return found


def test_silence_starts_an_anomaly_at_the_sample_that_did_not_come() -> None:
    fleet = Fleet()
    assert fleet.ticks(200, 0, 1, 2) == []
    last = fleet.now
    found = fleet.ticks(20, 0, 2)
    assert [(one.series, one.started) for one in found] == [(1, True)]
    assert abs(found[0].onset - last - STEP) < SECOND
    assert last + 3 * STEP <= found[0].at <= last + 7 * STEP
    assert found[0].deviation < -6
    assert found[0].score > 0.5
    assert found[0].band[0] < found[0].observed < found[0].band[2]
    readings = fleet.kernel.readings(fleet.host.states[0])
    assert readings.abnormal.tolist() == [False, True, False]
    detectors = fleet.kernel.detectors
    assert detectors[readings.detector[1]] == "missing_data"


def test_calm_samples_end_it() -> None:
    fleet = Fleet()
    fleet.ticks(200, 0, 1, 2)
    fleet.ticks(20, 0, 2)
    found = fleet.ticks(20, 0, 1, 2)
    # The sample that comes at last says how long the gap was: more than was known when it began.
    assert {one.series for one in found} == {1}
    assert [one.started for one in found].count(False) == 1
    assert not found[-1].started


def test_settled_it_is_not_found_again_in_the_same_silence() -> None:
    fleet = Fleet()
    fleet.ticks(200, 0, 1, 2)
    fleet.ticks(20, 0, 2)
    fleet.host.settle(SeriesId(1))
    assert fleet.ticks(50, 0, 2) == []
    fleet.ticks(100, 0, 1, 2)
    assert [one.series for one in fleet.ticks(20, 0, 2)] == [1]


def test_the_past_is_not_judged() -> None:
    fleet = Fleet()
    fleet.ticks(200, 0, 1, 2, history=True)
    assert fleet.ticks(20, 0, 2, history=True) == []


def test_a_restart_forgets_nothing() -> None:
    fleet, again = Fleet(), Fleet()
    for one in (fleet, again):
        one.ticks(200, 0, 1, 2)
        one.ticks(2, 0, 2)
    restarted: LocalHost[EngineState] = LocalHost(DetectKernel(CONFIG))
    restarted.load(again.host.dump(), interned(SPECS))
    again.host = restarted
    assert fleet.ticks(20, 0, 2) == again.ticks(20, 0, 2) != []
