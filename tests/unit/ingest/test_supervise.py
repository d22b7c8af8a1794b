from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import Random

import numpy as np
import pytest
import structlog

from dos.ingest.base import Delivery, Sink, SourceHealth
from dos.ingest.supervise import SupervisedSource, SupervisionPolicy, Supervisor
from dos.kit.clock import SECOND, ManualClock, Millis
from dos.kit.errors import PermanentError, TransientError
from dos.kit.retry import Backoff, CircuitState
from dos.model.ids import EntityId
from dos.model.telemetry import SampleFrame, SeriesSpec
from dos.testing.sinks import RecordingSink

START = Millis(1_700_000_000_000)
SERIES = (SeriesSpec(entity=EntityId("checkout"), metric="latency_p95"),)
Step = Callable[[Sink], object] | BaseException | None


class Scripted:
    """Plays one step per `run`: an error to raise, something to do, or None to wait forever."""

    def __init__(self, *steps: Step) -> None:
        self.steps: list[Step] = list(steps)
        self.runs = 0

    async def run(self, sink: Sink) -> None:
        self.runs += 1
        step = self.steps.pop(0)
        if isinstance(step, BaseException):
            raise step
        if step is None:
            await asyncio.Event().wait()
        elif callable(step):
            result = step(sink)
            if asyncio.iscoroutine(result):
                await result


def samples(at: int = START) -> Delivery:
    return Delivery(frame=SampleFrame.at(SERIES, at, np.array([0.1])))


def supervised(
    source: Scripted, sink: Sink, clock: ManualClock, policy: SupervisionPolicy | None = None
) -> SupervisedSource:
    return SupervisedSource(
        "prom", "prometheus", source, sink, clock=clock, rng=Random(7), policy=policy
    )


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def play(source: SupervisedSource, clock: ManualClock, seconds: Sequence[float]) -> None:
    """Let `source` run while the clock goes forward in these steps."""
    task = asyncio.create_task(source.run())
    await settle()
    for step in seconds:
        clock.advance(step)
        await settle()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_delivery_makes_it_ok_and_is_counted() -> None:
    clock, sink = ManualClock(START), RecordingSink()
    source = supervised(Scripted(lambda s: s.deliver(samples())), sink, clock)
    assert source.status.health is SourceHealth.STARTING
    await source.run()
    status = source.status
    assert status.health is SourceHealth.FINISHED
    assert (status.deliveries, status.samples) == (1, 1)
    assert (status.last_delivery_at, status.last_sample_at) == (START, START)
    assert len(sink.deliveries) == 1


async def test_a_transient_error_is_retried_on_the_same_object() -> None:
    clock, sink = ManualClock(START), RecordingSink()
    script = Scripted(TransientError("Cannot reach it.", remedy="Start it."), None)
    source = supervised(script, sink, clock)
    task = asyncio.create_task(source.run())
    await settle()

    status = source.status
    assert status.health is SourceHealth.RETRYING
    assert status.error == "Cannot reach it. Start it."
    assert status.failures == 1
    assert status.retry_at is not None
    assert START < status.retry_at <= START + SECOND

    clock.advance(1)
    await settle()
    assert script.runs == 2
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_wait_that_was_asked_for_is_kept() -> None:
    clock = ManualClock(START)
    script = Scripted(TransientError("Busy.", retry_after=42.0), None)
    source = supervised(script, RecordingSink(), clock)
    await play(source, clock, [41])
    assert script.runs == 1
    assert source.status.retry_at == START + 42 * SECOND


async def test_it_works_again_and_the_error_is_gone() -> None:
    clock, sink = ManualClock(START), RecordingSink()
    script = Scripted(TransientError("Down."), lambda s: s.deliver(samples()), None)
    source = supervised(script, sink, clock)
    await play(source, clock, [1])
    status = source.status
    assert (status.error, status.failures, status.retry_at) == (None, 0, None)


async def test_the_circuit_opens_and_lets_one_trial_through_after_its_cooldown() -> None:
    clock = ManualClock(START)
    script = Scripted(*[TransientError("Down.")] * 4, None)
    policy = SupervisionPolicy(
        backoff=Backoff(first=0.1, ceiling=0.1, floor=0.1), threshold=3, cooldown=30.0
    )
    source = supervised(script, RecordingSink(), clock, policy)
    task = asyncio.create_task(source.run())
    await settle()
    for _ in range(2):
        clock.advance(0.1)
        await settle()
    assert (script.runs, source.status.circuit) == (3, CircuitState.OPEN)

    clock.advance(29.9)
    await settle()
    assert script.runs == 3
    clock.advance(0.1)
    await settle()
    assert (script.runs, source.status.circuit) == (4, CircuitState.OPEN)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_permanent_error_ends_it_with_its_message() -> None:
    script = Scripted(PermanentError("401 from it.", remedy="Check the token."))
    source = supervised(script, RecordingSink(), ManualClock(START))
    await source.run()
    assert source.status.health is SourceHealth.FAILED
    assert source.status.error == "401 from it. Check the token."


async def test_any_other_exception_is_logged_with_its_cause_and_retried() -> None:
    clock = ManualClock(START)
    script = Scripted(KeyError("result"), None)
    source = supervised(script, RecordingSink(), clock)
    with structlog.testing.capture_logs() as logged:
        await play(source, clock, [1])
    assert script.runs == 2
    assert logged[0]["error"] == "KeyError: 'result'"
    assert isinstance(logged[0]["exc_info"], KeyError)


async def test_the_decisive_error_of_a_task_group_counts() -> None:
    group = ExceptionGroup("tasks", [TransientError("Slow."), PermanentError("Forbidden.")])
    source = supervised(Scripted(group), RecordingSink(), ManualClock(START))
    await source.run()
    assert (source.status.health, source.status.error) == (SourceHealth.FAILED, "Forbidden.")


async def test_an_empty_delivery_is_a_sign_of_life_and_goes_no_further() -> None:
    clock, sink = ManualClock(START), RecordingSink()

    async def work(to: Sink) -> None:
        await to.deliver(Delivery(problems=("query x failed",)))
        assert to.offer(Delivery())
        await asyncio.Event().wait()

    source = supervised(Scripted(work), sink, clock)
    await play(source, clock, [])
    assert source.status.health is SourceHealth.OK
    assert sink.deliveries == []


async def test_problems_show_until_the_next_delivery() -> None:
    clock, sink = ManualClock(START), RecordingSink()
    seen: list[tuple[str, ...]] = []

    async def work(to: Sink) -> None:
        await to.deliver(Delivery(problems=("query x failed",)))
        seen.append(source.status.problems)
        await to.deliver(samples())
        seen.append(source.status.problems)

    source = supervised(Scripted(work), sink, clock)
    await source.run()
    assert seen == [("query x failed",), ()]


async def test_a_refused_offer_is_no_delivery() -> None:
    sink = RecordingSink(capacity=1)
    source = supervised(
        Scripted(lambda s: [s.offer(samples(START + n)) for n in range(3)]),
        sink,
        ManualClock(START),
    )
    await source.run()
    assert (source.status.deliveries, len(sink.deliveries)) == (1, 1)


@pytest.mark.parametrize("row", [-1, 1])
async def test_samples_of_no_series_stop_at_the_source(row: int) -> None:
    wrong = SampleFrame(
        series=SERIES,
        index=np.array([row], np.int32),
        timestamp=np.array([START], np.int64),
        value=np.array([1.0]),
    )
    sink = RecordingSink()
    source = supervised(
        Scripted(lambda s: s.deliver(Delivery(frame=wrong))), sink, ManualClock(START)
    )
    await source.run()
    assert source.status.health is SourceHealth.FAILED
    assert "defect of the source" in (source.status.error or "")
    assert sink.deliveries == []


async def test_one_sources_trouble_does_not_touch_the_others() -> None:
    clock, sink = ManualClock(START), RecordingSink()
    bad = SupervisedSource(
        "bad", "x", Scripted(PermanentError("No.")), sink, clock=clock, rng=Random(1)
    )
    good = SupervisedSource(
        "good", "x", Scripted(lambda s: s.deliver(samples())), sink, clock=clock, rng=Random(1)
    )
    supervisor = Supervisor([bad, good])
    await supervisor.run()
    assert [(one.name, one.health) for one in supervisor.statuses()] == [
        ("bad", SourceHealth.FAILED),
        ("good", SourceHealth.FINISHED),
    ]
    assert len(sink.deliveries) == 1


async def test_cancelling_is_not_an_error() -> None:
    source = supervised(Scripted(None), RecordingSink(), ManualClock(START))
    task = asyncio.create_task(source.run())
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert source.status.error is None
