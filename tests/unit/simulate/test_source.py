from __future__ import annotations

import asyncio
import math
from collections import Counter
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
import pytest

from dos.ingest.base import Delivery
from dos.kit.clock import HOUR, SECOND, ManualClock, Millis
from dos.kit.errors import ConfigError
from dos.kit.plugins import Plugin
from dos.model.change import ChangeKind
from dos.model.entity import EntityKind
from dos.model.graph import EdgeKind
from dos.simulate.faults import FaultType
from dos.simulate.source import PLUGIN, Config, SimulatorSource
from tests.unit.simulate.runs import MONDAY_NOON


def source(clock: ManualClock | None = None, **config: object) -> SimulatorSource:
    clock = clock or ManualClock(MONDAY_NOON)
    built = Config.model_validate(config)
    return SimulatorSource(built, name="sim", clock=clock, rng=Random(1))


def samples(deliveries: list[tuple[Millis, Delivery]]) -> bytes:
    return b"".join(
        one.frame.timestamp.tobytes() + one.frame.value.tobytes()
        for _, one in deliveries
        if one.frame is not None
    )


def until(seconds: float) -> Millis:
    return Millis(MONDAY_NOON + round(seconds * SECOND))


def test_graph_first_then_history_then_a_frame_each_step() -> None:
    got = list(source(history="10m").deliveries(until(45)))
    assert [(at - MONDAY_NOON, d.history, d.frame is not None) for at, d in got] == [
        (0, False, False),
        (0, True, True),
        (15_000, False, True),
        (30_000, False, True),
        (45_000, False, True),
    ]
    graph, history = got[0][1], got[1][1].frame
    assert Counter(one.kind is EntityKind.NODE for one in graph.entities) == {False: 12, True: 3}
    assert {(e.source, e.confidence) for e in graph.edges} == {("simulator", 1.0)}
    hosted = {e.caller for e in graph.edges if e.kind is EdgeKind.HOST}
    assert hosted == {one.id for one in graph.entities if one.kind is not EntityKind.NODE}
    assert history is not None
    times = np.unique(history.timestamp)
    assert times[0] == MONDAY_NOON - 600_000 + 15_000
    assert times[-1] == MONDAY_NOON
    assert len(times) == 40
    assert history.series is (got[2][1].frame or history).series


def test_the_graph_is_of_now_however_long_the_history() -> None:
    begun, graph = next(source(history="2d").deliveries(until(0)))
    assert begun == MONDAY_NOON
    assert {edge.seen_at for edge in graph.edges} == {MONDAY_NOON}


def test_history_comes_in_chunks() -> None:
    there = source(history="3h", step="5s")
    got = list(there.deliveries(until(0)))
    sizes = [len(d.frame) for _, d in got if d.frame is not None]
    width = len(there.simulation.series)
    assert sum(sizes) == 3 * 720 * width
    assert max(sizes) <= 120_000
    assert len(sizes) == math.ceil(3 * 720 / (120_000 // width))


def test_history_is_healthy_and_incidents_come_after() -> None:
    there = source(history="2h", incidents="random", chance=1.0)
    list(there.deliveries(until(60)))
    assert [truth.start for truth in there.simulation.truths] == [MONDAY_NOON]


def test_graph_is_confirmed_now_and_then() -> None:
    got = list(source(graph_every="1m").deliveries(until(150)))
    graphs = [at - MONDAY_NOON for at, delivery in got if delivery.entities]
    assert graphs == [0, 60_000, 120_000]


def test_deliveries_can_be_asked_for_piece_by_piece() -> None:
    whole = list(source(history="5m", incidents="random").deliveries(until(600)))
    pieces_of = source(history="5m", incidents="random")
    pieces = [one for t in range(0, 601, 60) for one in pieces_of.deliveries(until(t))]
    assert samples(pieces) == samples(whole)
    assert [at for at, _ in pieces] == [at for at, _ in whole]


def test_run_delivers_the_same_when_the_clock_gets_there() -> None:
    class Recorder:
        def __init__(self, clock: ManualClock) -> None:
            self.clock = clock
            self.got: list[tuple[Millis, Delivery]] = []

        async def deliver(self, delivery: Delivery) -> None:
            self.got.append((self.clock.now(), delivery))

        def offer(self, delivery: Delivery) -> bool:
            raise AssertionError

        async def submit(self, delivery: Delivery) -> bool:
            raise AssertionError

    async def settle() -> None:
        for _ in range(4):  # a step has a few suspension points
            await asyncio.sleep(0)

    async def play() -> list[tuple[Millis, Delivery]]:
        clock = ManualClock(MONDAY_NOON)
        recorder = Recorder(clock)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(source(clock, history="5m").run(recorder))
            for _ in range(60 * 5):
                await settle()
                clock.advance(1)
            await settle()
            task.cancel()
        return recorder.got

    got = asyncio.run(play())
    expected = list(source(history="5m").deliveries(until(300)))
    assert samples(got) == samples(expected)
    assert [at for at, _ in got] == [at for at, _ in expected]


def test_resume_with_a_start_goes_on_in_the_same_world() -> None:
    start = "2026-11-23T12:00:00Z"
    whole = list(source(start=start, history="1h", incidents="random").deliveries(until(1200)))
    later = ManualClock(until(700))
    resumed = source(later, start=start, history="1h", incidents="random")
    resumed.resume(until(600))
    rest = list(resumed.deliveries(until(1200)))
    assert rest[0][1].entities
    tail = [(at, one) for at, one in whole if at > until(600) and one.frame is not None]
    assert samples(rest) == samples(tail)


def test_resume_without_a_start_goes_on_in_time() -> None:
    resumed = source(ManualClock(until(700)), history="1h")
    resumed.resume(until(607))
    got = [d.frame for _, d in resumed.deliveries(until(660)) if d.frame is not None]
    times = [int(frame.timestamp[0]) for frame in got]
    assert times[0] == until(615)
    assert all(b - a == 15 * SECOND for a, b in pairwise(times))


def test_resume_within_the_history_delivers_the_rest_of_it() -> None:
    resumed = source(history="1h", start="2026-11-23T12:00:00Z")
    resumed.resume(Millis(MONDAY_NOON - HOUR // 2))
    history = [d.frame for _, d in resumed.deliveries(until(0)) if d.history]
    width = len(resumed.simulation.series)
    assert sum(len(frame) for frame in history if frame is not None) == 120 * width


def test_scenario_is_relative_to_the_start(tmp_path: Path) -> None:
    file = tmp_path / "story.yaml"
    file.write_text(
        "- {at: 1m, fault: cpu_spike, target: payment-service, duration: 2m, severity: 0.9}\n"
        "- {at: 30s, fault: error_rate, target: catalog-db, duration: 45s}\n"
    )
    there = source(history="1h", scenario=str(file))
    list(there.deliveries(until(300)))
    assert [(t.fault, t.target, t.start - MONDAY_NOON) for t in there.simulation.truths] == [
        (FaultType.ERROR_RATE, "catalog-db", 30_000),
        (FaultType.CPU_SPIKE, "payment-service", 60_000),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("at: 1m", "is not a list of faults. Write lines such as"),
        ("- {at: soon, fault: cpu_spike, target: a}", "line 1, at: .*15s, 5m or 1h30m"),
        ("- {at: 1m, fault: flood, target: a}", "line 1, fault: Input should be 'cpu_spike'"),
        (
            "- {at: 1m, fault: cpu_spike, target: nobody}",
            "World 'shop' has no 'nobody'.*It can hit: api-gateway",
        ),
        (
            "- {at: 1m, fault: memory_leak, target: shop-db}",
            "'shop-db' cannot have the fault memory_leak",
        ),
        ("- {at: 1m, fault: zone_outage, target: zone-z}", "no 'zone-z'.*zone-a, zone-b, zone-c"),
        ("- {at: 1m, action: pray, target: frontend}", "line 1, action: Input should be 'scale'"),
        ("- {at: 1m, action: restart, target: nobody}", "no service 'nobody'"),
        ("- {at: 1m, target: frontend}", "line 1, fault: Field required"),
        ("- [", "cannot be read"),
    ],
)
def test_wrong_scenarios_say_where(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "story.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        source(scenario=str(file))


def test_wrong_start_says_what_to_write() -> None:
    with pytest.raises(ConfigError, match=r"start 'noon' is not a time\. Write for example 2026"):
        source(start="noon")


def test_truth_is_not_delivered() -> None:
    weights = {"deploy_regression": 1.0}
    there = source(incidents="random", chance=1.0, weights=weights, changes_per_day=0)
    got = list(there.deliveries(until(300)))
    # A regression comes with a deployment, and that is all there is to be seen of it.
    told = [change for _, delivery in got for change in delivery.changes]
    truth = there.simulation.truths[0]
    assert [(one.kind, one.entity, one.at) for one in told] == [
        (ChangeKind.DEPLOY, truth.target, truth.start)
    ]
    assert told[0].summary == f"Deploy {truth.target} 1.0.1"
    metrics = {s.metric for _, d in got if d.frame for s in d.frame.series}
    assert not metrics & {"fault", "truth", "incident"}


def test_each_change_is_told_once_history_included() -> None:
    start = "2026-11-23T12:00:00Z"
    there = source(start=start, history="6h", changes_per_day=1000)
    got = [(one.history, one.changes) for _, one in there.deliveries(until(600))]
    told = [change.id for _, changes in got for change in changes]
    assert told == [change.id for change in there.simulation.changes]
    assert len(set(told)) == len(told)
    assert sum(len(changes) for history, changes in got if history) > 100
    resumed = source(start=start, history="6h", changes_per_day=1000)
    resumed.resume(until(0))
    rest = [c.id for _, one in resumed.deliveries(until(600)) for c in one.changes]
    live = [c.id for c in there.simulation.changes if c.at >= until(0)]
    assert rest == live
    assert live


def test_plugin() -> None:
    assert isinstance(PLUGIN, Plugin)
    assert PLUGIN.config is Config
