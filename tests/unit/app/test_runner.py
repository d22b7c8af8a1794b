"""Killed between any two stages, or refused by a full disk: nothing is lost, nothing doubled."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dos.app import wiring
from dos.app.history import KeptHistory
from dos.app.runner import Kept, Runner
from dos.bus.segment import SegmentLog
from dos.compute.base import Checkpoint
from dos.compute.checkpoint import FileCheckpointStore
from dos.ingest.base import Delivery
from dos.ingest.normalise import Normaliser
from dos.kit.clock import ManualClock, Millis
from dos.kit.errors import CorruptDataError, TransientError
from dos.model.alert import AlertState
from dos.model.events import Decisions
from dos.model.incident import IncidentState
from dos.model.intake import Intake
from dos.storage.base import Position
from dos.storage.memory import MemoryStore
from tests.unit.app import played

WITHOUT_CRASH = played.lines(played.uninterrupted())


class Killed(BaseException):
    """Stands for `kill -9`: nothing in the runner may catch it."""


class FlakyStore(MemoryStore):
    """Survives the process, and can be told to fail."""

    def __init__(self) -> None:
        super().__init__()
        self.failures = 0
        self.kill: Callable[[Decisions], str | None] = lambda _: None

    async def commit(self, decisions: Decisions) -> None:
        if self.failures:
            self.failures -= 1
            raise TransientError("The database is locked.")
        when = self.kill(decisions)
        if when == "before":
            raise Killed
        await super().commit(decisions)
        if when == "after":
            raise Killed


class Machine:
    """What is left when a process dies: files and the database."""

    def __init__(self, directory: Path, segment_bytes: int = 200_000) -> None:
        self.directory = directory
        self.settings = played.settings()
        self.store = FlakyStore()
        self.clock = ManualClock(played.START)
        self.segment_bytes = segment_bytes
        self.runner: Runner
        self.log: SegmentLog
        self.history: KeptHistory

    async def boot(self) -> Runner:
        """A new process over what the last one left."""
        self.history = wiring.open_history(self.settings, self.directory)
        self.log = SegmentLog(self.directory / "intake", segment_bytes=self.segment_bytes)
        pipeline = wiring.build_pipeline(self.settings, self.history, played.RECEIVERS)
        self.runner = Runner(
            pipeline=pipeline,
            kept=Kept(
                stream=self.log,
                store=self.store,
                checkpoints=FileCheckpointStore(self.directory / "checkpoint"),
                history=self.history,
            ),
            normaliser=Normaliser(pipeline.parts.registry),
            clock=self.clock,
            offload=False,
        )
        await self.runner.recover()
        return self.runner

    def die(self) -> None:
        """Only locks and maps go, which the operating system takes back."""
        self.log.close()
        self.history.close()

    async def take(self, deliveries: Iterable[tuple[Millis, Delivery]]) -> None:
        for at, delivery in deliveries:
            self.clock.set(at)
            await self.runner.take("simulator", delivery)

    async def lines(self) -> list[bytes]:
        return [one.to_json() for one in await self.store.events(limit=100_000)]


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    one = Machine(tmp_path)
    await one.boot()
    yield one
    one.die()


EVENTFUL = [index for index, step in enumerate(played.uninterrupted()) if step.events]
CRASHES = [5, EVENTFUL[0], *EVENTFUL[1:-1:3], EVENTFUL[-1]]
"""Indexes into the deliveries: in the back-fill, while incidents open, grow and resolve."""


async def test_without_a_crash_the_store_holds_what_the_pipeline_decided(machine: Machine) -> None:
    await machine.take(played.played())
    assert await machine.lines() == WITHOUT_CRASH
    assert machine.runner.committed == len(WITHOUT_CRASH)
    assert machine.runner.newest_sample == played.START + played.LENGTH * 1000
    progress = machine.runner.progress
    assert progress.intakes == len(played.intakes())
    assert progress.samples == sum(len(entry.intake.metrics) for entry in played.intakes())
    assert progress.events["incident_changed"] >= 4


@pytest.mark.parametrize("at", CRASHES)
@pytest.mark.parametrize("stage", ["log", "step", "before", "after", "checkpoint"])
async def test_killed_between_two_stages(
    machine: Machine, stage: str, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliveries, checkpoint_every = played.played(), 7 if at % 2 else 1000
    for index, one in enumerate(deliveries[: at + 1]):
        if index == at:
            arm(machine, stage, monkeypatch)
        try:
            await machine.take([one])
            if index % checkpoint_every == checkpoint_every - 1:
                machine.runner.checkpoint()
        except Killed:
            break
    if stage == "checkpoint":
        with pytest.raises(Killed):
            machine.runner.checkpoint()
    monkeypatch.undo()
    machine.store.kill = lambda _: None
    machine.die()
    await machine.boot()
    # What reached the log is not delivered again; what did not, is.
    await machine.take(deliveries[at if stage == "log" else at + 1 :])
    assert await machine.lines() == WITHOUT_CRASH


def arm(machine: Machine, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next input die at `stage`."""

    def die(*_: object) -> int:
        raise Killed

    match stage:
        case "log":
            monkeypatch.setattr(machine.log, "append", die)
        case "step":
            monkeypatch.setattr(machine.runner.pipeline, "step", die)
        case "before" | "after":
            machine.store.kill = lambda _: stage
        case _:
            monkeypatch.setattr(FileCheckpointStore, "save", die)


async def test_recovery_needs_only_what_follows_the_checkpoint(machine: Machine) -> None:
    await machine.take(played.played()[:30])
    machine.runner.checkpoint()
    await machine.take(played.played()[30:33])
    machine.die()
    with capture_logs() as logs:
        await machine.boot()
    assert [(line["event"], line["inputs"]) for line in logs] == [("recovered", 3)]
    assert machine.runner.pipeline.now == played.played()[32][0]


async def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(machine: Machine) -> None:
    machine.die()
    machine.segment_bytes = 10_000  # so that trimming really lets go of input
    await machine.boot()
    deliveries = played.played()
    for start in range(0, 40, 4):
        await machine.take(deliveries[start : start + 4])
        machine.runner.checkpoint()
    assert machine.log.start > 0
    machine.die()
    newest = machine.directory / "checkpoint"
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    with capture_logs() as logs:
        await machine.boot()
    assert "checkpoint_damaged" in [line["event"] for line in logs]
    await machine.take(deliveries[40:])
    assert await machine.lines() == WITHOUT_CRASH


async def test_a_missing_checkpoint_with_the_whole_log_costs_only_time(machine: Machine) -> None:
    await machine.take(played.played()[:40])
    machine.runner.checkpoint()
    machine.die()
    for path in machine.directory.glob("checkpoint*"):
        path.unlink()
    await machine.boot()
    await machine.take(played.played()[40:])
    assert await machine.lines() == WITHOUT_CRASH


async def told(machine: Machine) -> dict[str, list[tuple[str, AlertState]]]:
    """By alert: what each receiver was told."""
    alerts = await machine.store.alerts(limit=1000)
    return {
        alert.id: [
            (row.notification.receiver, row.notification.alert.state)
            for row in await machine.store.ledger(alert.id)
        ]
        for alert in alerts
    }


async def all_is_resolved_and_told_once(machine: Machine) -> None:
    events = await machine.store.events(limit=100_000)
    assert [one.seq for one in events] == list(range(1, len(events) + 1))
    assert not await machine.store.incidents(state=IncidentState.OPEN)
    assert not await machine.store.alerts(state=AlertState.FIRING)
    assert not await machine.store.anomalies(active=True)
    for alert, rows in (await told(machine)).items():
        for receiver in {name for name, _ in rows}:
            states = [state for name, state in rows if name == receiver]
            assert states.count(AlertState.RESOLVED) == 1, alert
            assert states[0] is AlertState.FIRING, alert


@pytest.mark.parametrize("cut", [20, 26, 51])
async def test_a_missing_checkpoint_with_a_trimmed_log_forgets_no_incident(
    machine: Machine, cut: int
) -> None:
    machine.die()
    machine.segment_bytes = 10_000
    await machine.boot()
    deliveries = played.played()
    for start in range(0, cut, 2):
        await machine.take(deliveries[start : min(start + 2, cut)])
        machine.runner.checkpoint()
    assert machine.log.start > 0
    open_before = await machine.store.incidents(state=IncidentState.OPEN)
    assert open_before
    machine.die()
    for path in machine.directory.glob("checkpoint*"):
        path.unlink()
    await machine.boot()
    assert [one.id for one in machine.runner.pipeline.parts.correlator.open] == [
        one.id for one in open_before
    ]
    await machine.take(deliveries[cut:])
    await all_is_resolved_and_told_once(machine)


async def test_without_files_of_history_a_lost_checkpoint_says_what_to_do(
    machine: Machine,
) -> None:
    machine.die()
    machine.segment_bytes = 10_000
    keys = {"resolution": played.STEP, "retention": 3600.0, "segments": {"enabled": False}}
    machine.settings = played.settings(history=keys)
    await machine.boot()
    for start in range(0, 20, 2):
        await machine.take(played.played()[start : start + 2])
        machine.runner.checkpoint()
    assert machine.log.start > 0
    machine.die()
    for path in machine.directory.glob("checkpoint*"):
        path.unlink()
    with pytest.raises(CorruptDataError, match=r"checkpoint is lost.*Move `intake`, `recent`"):
        await machine.boot()
    machine.die()
    for name in ("intake", "recent"):
        shutil.rmtree(machine.directory / name)
    await machine.boot()
    assert machine.runner.pipeline.parts.correlator.open, "as the message promises"


async def test_a_log_shorter_than_its_checkpoint_goes_on_where_it_ends(machine: Machine) -> None:
    await machine.take(played.played()[:18])
    segment = max((machine.directory / "intake").glob("*.log"))
    shorter = segment.stat().st_size
    await machine.take(played.played()[18:20])
    machine.runner.checkpoint()
    machine.die()
    with segment.open("r+b") as file:
        file.truncate(shorter)
    with capture_logs() as logs:
        await machine.boot()
    assert logs[0]["event"] == "input lost"
    await machine.take(played.played()[20:28])
    machine.die()  # before the next checkpoint
    await machine.boot()
    await machine.take(played.played()[28:])
    assert await machine.lines() == WITHOUT_CRASH


@pytest.mark.parametrize("cut", [20, 24, 51])
async def test_a_store_ahead_of_the_log_is_believed(machine: Machine, cut: int) -> None:
    """After a power cut the tail of the log may be gone while the database has it all."""
    deliveries = played.played()
    await machine.take(deliveries[: cut - 6])
    machine.runner.checkpoint()
    segment = max((machine.directory / "intake").glob("*.log"))
    kept = segment.stat().st_size
    await machine.take(deliveries[cut - 6 : cut])
    before = await machine.store.position()
    machine.die()
    with segment.open("r+b") as file:
        file.truncate(kept)
    await machine.boot()
    assert await machine.store.position() == before
    assert machine.runner.committed == before.seq
    await machine.take(deliveries[cut:])
    assert (await machine.store.position()).seq > before.seq
    await all_is_resolved_and_told_once(machine)


async def test_a_lost_baseline_resolves_what_was_open(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await machine.take(played.played()[:20])
    assert machine.runner.pipeline.parts.correlator.active
    monkeypatch.setattr(machine.runner.pipeline.parts.kernel, "version", "0/older")
    machine.runner.checkpoint()
    machine.die()
    with capture_logs() as logs:
        await machine.boot()
    assert "baseline lost" in [line["event"] for line in logs]
    await machine.take(played.played()[20:])
    await all_is_resolved_and_told_once(machine)


async def test_a_checkpoint_of_another_world_is_refused_with_the_remedy(machine: Machine) -> None:
    machine.runner.checkpoint()
    machine.die()
    (machine.directory / "checkpoint").unlink()
    FileCheckpointStore(machine.directory / "checkpoint").save(
        Checkpoint(epoch=1, offset=0, data=b"from the future")
    )
    with pytest.raises(CorruptDataError, match=r"in the store.*Move the checkpoint files"):
        await machine.boot()


async def until(true: Callable[[], bool]) -> None:
    for _ in range(10_000):
        if true():
            return
        await asyncio.sleep(0)
    pytest.fail("it never came true")


async def test_a_store_that_fails_for_a_while_loses_nothing_and_says_so(machine: Machine) -> None:
    deliveries = played.played()
    await machine.take(deliveries[:12])
    machine.store.failures = 5
    trouble: list[str] = []

    async def time_goes_on() -> None:
        while machine.store.failures or machine.runner.progress.trouble:
            if machine.runner.progress.trouble:
                trouble.append(machine.runner.progress.trouble)
                machine.clock.advance(60)
            await asyncio.sleep(0)

    with capture_logs() as logs:
        passing = asyncio.create_task(time_goes_on())
        await machine.take(deliveries[12:])
        await passing
    assert await machine.lines() == WITHOUT_CRASH
    assert machine.store.failures == 0
    assert "store does not take" in trouble[0]
    assert "database is locked" in trouble[0]
    assert machine.runner.progress.trouble is None
    assert [line["event"] for line in logs] == ["waiting"] * 5


@pytest.mark.parametrize("at", [10, 24, 47])
async def test_a_checkpoint_while_the_store_fails_does_not_skip_decisions(
    machine: Machine, at: int
) -> None:
    deliveries = played.played()
    await machine.take(deliveries[:at])
    machine.runner.checkpoint()
    machine.store.failures = 10**6
    machine.clock.set(deliveries[at][0])
    with capture_logs():
        taking = asyncio.create_task(machine.runner.take("simulator", deliveries[at][1]))
        await until(lambda: machine.runner.progress.trouble is not None)
        machine.runner.checkpoint()  # housekeeping comes by
        taking.cancel()
    machine.die()
    machine.store.failures = 0
    await machine.boot()
    await machine.take(deliveries[at + 1 :])
    assert await machine.lines() == WITHOUT_CRASH


async def test_a_full_disk_stops_the_intake_until_there_is_room(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliveries = played.played()
    await machine.take(deliveries[:12])
    append, full = machine.log.append, True

    def refuse(intake: Intake) -> int:
        if full:
            raise TransientError("No space left on device.")
        return append(intake)

    monkeypatch.setattr(machine.log, "append", refuse)
    machine.clock.set(deliveries[12][0])
    with capture_logs():
        taking = asyncio.create_task(machine.runner.take("simulator", deliveries[12][1]))
        await until(lambda: machine.runner.progress.trouble is not None)
        assert "intake log does not take" in str(machine.runner.progress.trouble)
        full = False
        machine.clock.advance(60)
        await taking
    assert machine.runner.progress.trouble is None
    await machine.take(deliveries[13:])
    assert await machine.lines() == WITHOUT_CRASH


async def test_who_waits_for_an_event_is_woken_by_it(machine: Machine) -> None:
    await machine.runner.wait_for_event(-1)
    waiting = asyncio.create_task(machine.runner.wait_for_event(0))
    await machine.take(played.played()[:1])
    await asyncio.wait_for(waiting, 5)
    later = asyncio.create_task(machine.runner.wait_for_event(10**6))
    await machine.take(played.played()[1:20])
    assert not later.done()
    later.cancel()


async def test_listeners_hear_of_decisions_once_they_are_committed(machine: Machine) -> None:
    heard: list[int] = []
    positions: list[Position] = []

    def listen(decisions: Decisions) -> None:
        heard.extend(one.seq for one in decisions.events)
        positions.append(Position(seq=machine.runner.committed))

    machine.runner.listeners.append(listen)
    await machine.take(played.played())
    assert heard == list(range(1, len(WITHOUT_CRASH) + 1))
    assert positions[-1].seq == heard[-1]


async def test_steps_in_a_worker_thread_decide_the_same(tmp_path: Path) -> None:
    one = Machine(tmp_path)
    await one.boot()
    one.runner._offload = True
    await one.take(played.played())
    assert await one.lines() == WITHOUT_CRASH
    one.die()
