"""The lines of the original sketch, told of the real simulation."""

from __future__ import annotations

import asyncio
import contextlib
import re

import pytest

from dos.kit.clock import ManualClock
from dos.model.ids import EntityId
from dos.simulate.actions import Action, ActionKind
from dos.simulate.engine import Simulation
from dos.simulate.faults import Fault, FaultType
from dos.simulate.kinds import KINDS
from dos.simulate.narration import Narrator, tell
from dos.simulate.postmortem import Postmortem
from dos.simulate.scenario import Scenario, ScheduledAction, ScheduledFault, eligible
from dos.simulate.worlds import shop, world
from tests.unit.simulate.runs import MONDAY_NOON

INFORMATION = "\N{INFORMATION SOURCE}\N{VARIATION SELECTOR-16}"
METRICS = re.compile(
    r"\[\d\d:\d\d:\d\d\] 🔄 [\w-]+ metrics: CPU=\d+% \| Memory=\d+% \| Latency=\d+ms \| Errors=\d+%"
)


def test_an_incident_is_told_from_start_to_end() -> None:
    simulation = Simulation(shop(), step_seconds=1.0, start=MONDAY_NOON)
    narrator = Narrator(simulation)
    assert narrator.lines(simulation.tick()) == ["[12:00:01] All services operating normally"]
    target = EntityId("payment-service")
    simulation.inject(Fault(type=FaultType.CPU_SPIKE, target=target, duration=30.0))
    told = [line for _ in range(60) for line in narrator.lines(simulation.tick())]
    assert told[0] == (
        "[12:00:02] 🚨 INCIDENT: CPU spike detected in payment-service (Duration: 30s)"
    )
    assert METRICS.fullmatch(told[1])
    assert any(line.startswith("[12:00:51] ✅ INCIDENT RESOLVED: payment-service") for line in told)
    assert any("checkout-service metrics" in line for line in told)
    assert told[-1] == "[12:01:01] All services operating normally"
    resolved = next(at for at, line in enumerate(told) if "RESOLVED" in line)
    assert [line.split()[0] for line in told[resolved + 1 : resolved + 4]] == [
        "post-mortem",
        "timeline",
        "worst",
    ]
    hottest = max(int(m[1]) for line in told if (m := re.search(r"payment.*CPU=(\d+)%", line)))
    assert hottest > 75


async def test_telling_keeps_pace_with_the_clock() -> None:
    clock = ManualClock(MONDAY_NOON)
    simulation = Simulation(shop(), step_seconds=1.0, start=MONDAY_NOON)
    told: list[str] = []
    telling = asyncio.create_task(tell(simulation, clock, told.append, duration=5))
    for _ in range(3):
        await asyncio.sleep(0)
    assert told == []
    for count in range(1, 6):
        clock.advance(1)
        for _ in range(3):
            await asyncio.sleep(0)
        assert len(told) == count
    await telling


def told(
    fault: FaultType, ticks: int = 90, *, name: str = "shop", **options: float
) -> tuple[str, list[str]]:
    """The target and the lines of a fault of 60 s, after 20 s of calm."""
    there = world(name)
    simulation = Simulation(there, seed=4, step_seconds=1.0, start=MONDAY_NOON)
    narrator = Narrator(simulation)
    for _ in range(20):
        narrator.lines(simulation.tick())
    target = eligible(there, fault)[0]
    kind = KINDS[fault]
    chosen = {"severity": 0.9, "duration": 60.0, "ramp": min(kind.ramp, 5.0), "recovery": 5.0}
    simulation.inject(Fault(type=fault, target=target, **(chosen | options)))
    return target, [line for _ in range(ticks) for line in narrator.lines(simulation.tick())]


@pytest.mark.parametrize("fault", list(FaultType))
def test_every_kind_is_told_and_ends(fault: FaultType) -> None:
    target, lines = told(fault)
    text = "\n".join(lines)
    label = fault.label
    if KINDS[fault].harmless:
        assert lines[0].endswith(f"{INFORMATION} HARMLESS: {label} at {target} (Duration: 60s)")
        assert f"{INFORMATION} OVER: {target} {label}" in text
        assert "INCIDENT" not in text
        assert "All services operating normally" in text
    else:
        assert lines[0].endswith(f"🚨 INCIDENT: {label} detected in {target} (Duration: 60s)")
        assert f"✅ INCIDENT RESOLVED: {target} {label}" in text
        ending = next(at for at, line in enumerate(lines) if "RESOLVED" in line)
        assert not any("operating normally" in line for line in lines[:ending])
    assert all(re.match(r"\[\d\d:\d\d:\d\d\] \S|           \S| {24}\S", line) for line in lines)
    assert f"post-mortem  {label} of {target}" in text


def test_machines_and_zones_are_told_as_such() -> None:
    zone, lines = told(FaultType.ZONE_OUTAGE)
    down = [line for line in lines if f"🔄 {zone}: 0 of 1 machines answer" in line]
    assert len(down) > 30
    node, lines = told(FaultType.CLOCK_SKEW)
    clocks = [
        int(found[1])
        for line in lines
        if (found := re.search(rf"🔄 {node} metrics: CPU=\d+% .*Ready=yes \| Clock=(\d+)s", line))
    ]
    assert max(clocks) > 200


@pytest.mark.parametrize(
    ("fault", "pattern"),
    [
        (FaultType.DISK_FULL, r"Disk=100%"),
        (FaultType.CACHE_STAMPEDE, r"Hits=[67]\d%"),
        (FaultType.PACKET_LOSS, r"Retransmits=(1[5-9]|2\d|3\d)%"),
        (FaultType.TRAFFIC_SURGE, r"Requests=[5-9]\d\d/s"),
    ],
)
def test_what_tells_most_of_a_kind_is_on_the_line(fault: FaultType, pattern: str) -> None:
    target, lines = told(fault)
    assert any(f"🔄 {target} metrics" in line and re.search(pattern, line) for line in lines)


def test_memory_that_runs_out_is_told() -> None:
    target, lines = told(FaultType.MEMORY_LEAK, ticks=70)
    killed = [line for line in lines if "💥" in line]
    assert killed
    assert f"💥 {target}: a replica ran out of memory and restarts (1 so far)" in killed[0]


def test_an_alarm_is_raised_once_while_it_lasts() -> None:
    target, lines = told(FaultType.CPU_SPIKE)
    alarms = [line for line in lines if f"High CPU in {target}" in line]
    assert len(alarms) == 1
    assert re.fullmatch(rf"\[12:00:\d\d\] ⚠️ High CPU in {target}: [89]\d%", alarms[0])


def test_actions_and_what_came_of_them_are_told() -> None:
    there = shop()
    lines_of = [
        ScheduledFault(
            at=5.0, fault=FaultType.DEPLOY_REGRESSION, target="catalog-service",
            severity=0.95, duration=600.0,
        ),
        ScheduledAction(at=60.0, action=ActionKind.ROLLBACK, target="catalog-service"),
        ScheduledAction(at=70.0, action=ActionKind.SCALE, target="frontend", replicas=6),
    ]  # fmt: skip
    simulation = Simulation(
        there, step_seconds=1.0, start=MONDAY_NOON,
        incidents=Scenario(lines_of, there, MONDAY_NOON),
    )  # fmt: skip
    narrator = Narrator(simulation)
    lines = [line for _ in range(300) for line in narrator.lines(simulation.tick())]
    assert sum("📝 CHANGE: Deploy catalog-service 1.0.1" in line for line in lines) == 1
    (rollback,) = [line for line in lines if "🔧 ACTION: rollback" in line]
    assert rollback.endswith("catalog-service, which removes the cause: Deploy regression")
    assert not any("CHANGE: Roll" in line or "CHANGE: Scale" in line for line in lines)
    assert any("🔧 ACTION: scale frontend to 6 replicas" in line for line in lines)
    (outcome,) = [line for line in lines if "OUTCOME: rollback" in line]
    assert "🔧 OUTCOME: rollback of catalog-service helped: " in outcome
    assert outcome.startswith("[12:04:0")


def test_several_at_once_are_told_apart() -> None:
    simulation = Simulation(shop(), step_seconds=1.0, start=MONDAY_NOON)
    narrator = Narrator(simulation)
    for name, seconds in (("payment-service", 20.0), ("user-service", 40.0)):
        simulation.inject(Fault(type=FaultType.ERROR_RATE, target=EntityId(name), duration=seconds))
    lines = [line for _ in range(70) for line in narrator.lines(simulation.tick())]
    ends = {
        name: next(at for at, line in enumerate(lines) if f"RESOLVED: {name}" in line)
        for name in ("payment-service", "user-service")
    }
    assert ends["payment-service"] < ends["user-service"]
    between = lines[ends["payment-service"] : ends["user-service"]]
    assert not any("operating normally" in line for line in between)
    assert "operating normally" in lines[-1]


async def test_records_are_kept_also_of_what_still_runs() -> None:
    simulation = Simulation(shop(), step_seconds=1.0, start=MONDAY_NOON)
    target = EntityId("payment-service")
    simulation.inject(Fault(type=FaultType.CPU_SPIKE, target=target, duration=5.0, recovery=2.0))
    simulation.inject(Fault(type=FaultType.ERROR_RATE, target=target, duration=500.0))
    kept: list[Postmortem] = []
    await tell(simulation, None, lambda _: None, 20.0, keep=kept.append)
    assert [one.fault for one in kept] == [FaultType.CPU_SPIKE, FaultType.ERROR_RATE]
    assert kept[0].seconds == 7.0
    assert kept[1].end is None


async def test_an_interrupted_telling_keeps_its_records() -> None:
    clock = ManualClock(MONDAY_NOON)
    simulation = Simulation(shop(), step_seconds=1.0, start=MONDAY_NOON)
    simulation.inject(Fault(type=FaultType.CPU_SPIKE, target=EntityId("payment-service")))
    kept: list[Postmortem] = []
    telling = asyncio.create_task(tell(simulation, clock, lambda _: None, keep=kept.append))
    for _ in range(3):
        await asyncio.sleep(0)
    clock.advance(1)
    for _ in range(3):
        await asyncio.sleep(0)
    telling.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await telling
    assert [one.end for one in kept] == [None]


def test_a_story_is_told_the_same_way_twice() -> None:
    assert told(FaultType.CASCADING_FAILURE) == told(FaultType.CASCADING_FAILURE)


def test_narrating_changes_nothing() -> None:
    simulations = [
        Simulation(shop(), seed=3, step_seconds=1.0, start=MONDAY_NOON) for _ in range(2)
    ]
    narrator = Narrator(simulations[0])
    for one in simulations:
        one.inject(Fault(type=FaultType.CPU_SPIKE, target=EntityId("payment-service")))
        one.act(Action(kind=ActionKind.RESTART, target=EntityId("user-service")))
    for _ in range(40):
        frame, other = (one.tick() for one in simulations)
        narrator.lines(frame)
        assert frame.value.tobytes() == other.value.tobytes()
