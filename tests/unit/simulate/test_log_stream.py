"""Lines of the simulator as a source: with the metrics, for many, and the same after a restart."""

from __future__ import annotations

from random import Random

from dos.ingest.base import Delivery
from dos.kit.clock import SECOND, ManualClock, Millis, to_rfc3339
from dos.model.logs import LogBatch
from dos.simulate.source import Config, SimulatorSource
from tests.unit.simulate.runs import MONDAY_NOON

FAULT = {
    "at": "20s",
    "fault": "error_rate",
    "target": "catalog-service",
    "duration": "60s",
    "severity": 0.9,
}


def source(*, logs: int = 30) -> SimulatorSource:
    config = Config.model_validate(
        {
            "step": 5.0,
            "history": "20m",
            "start": to_rfc3339(MONDAY_NOON),
            "scenario": [FAULT],
            "logs": logs,
        }
    )
    clock = ManualClock(MONDAY_NOON)
    return SimulatorSource(config, name="sim", clock=clock, rng=Random(1))


def until(seconds: float) -> Millis:
    return Millis(MONDAY_NOON + round(seconds * SECOND))


def lines(batch: LogBatch | None) -> list[tuple[str, int, bytes, float]]:
    if batch is None:
        return []
    return [
        (
            batch.entities[int(batch.entity[i])],
            int(batch.timestamp[i]),
            batch.data[int(batch.offset[i]) : int(batch.offset[i + 1])],
            float(batch.weight[i]),
        )
        for i in range(len(batch))
    ]


def metrics(deliveries: list[tuple[Millis, Delivery]]) -> bytes:
    frames = [one.frame for _, one in deliveries if one.frame is not None]
    times = b"".join(frame.timestamp.tobytes() for frame in frames)
    return times + b"".join(frame.value.tobytes() for frame in frames)


def test_lines_come_with_the_last_ten_minutes_and_change_no_metric() -> None:
    with_lines = list(source().deliveries(until(60)))
    without = list(source(logs=0).deliveries(until(60)))
    assert metrics(with_lines) == metrics(without)
    assert all(one.logs is None for _, one in without)
    history = [one.logs for _, one in with_lines if one.history]
    assert [len(batch) > 0 for batch in history if batch is not None] == [True] * 120
    first = next(batch for batch in history if batch)
    assert MONDAY_NOON - 600 * SECOND <= int(first.timestamp.min()) <= MONDAY_NOON - 595 * SECOND


def test_a_fault_speaks_and_each_line_stands_for_many() -> None:
    found = [
        one for _, delivery in source().deliveries(until(60)) for one in lines(delivery.logs)
        if not delivery.history
    ]  # fmt: skip
    failed = [one for one in found if one[0] == "catalog-service" and b"failed" in one[2]]
    assert failed
    assert sum(weight for *_, weight in found) > 10 * len(found)


def test_a_run_taken_up_again_writes_the_same_lines() -> None:
    whole = [(at, lines(one.logs)) for at, one in source().deliveries(until(90)) if one.logs]
    for after in (until(-300), until(30), until(62)):
        again = source()
        again.resume(after)
        rest = [(at, lines(one.logs)) for at, one in again.deliveries(until(90)) if one.logs]
        live = [(at, found) for at, found in whole if at > max(after, MONDAY_NOON)]
        assert [one for one in rest if one[0] > MONDAY_NOON] == live
