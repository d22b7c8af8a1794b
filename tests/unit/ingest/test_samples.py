from __future__ import annotations

import asyncio
from random import Random

import pytest

from dos.ingest.base import Delivery
from dos.ingest.samples import MAX_SAMPLES, read_samples
from dos.kit.clock import ManualClock, Millis
from dos.kit.plugins import load
from dos.model.telemetry import MetricKind, Role
from dos.testing.sinks import RecordingSink

NOW = Millis(1_767_225_600_000)  # 2026-01-01


def test_a_sample_says_little_and_is_understood() -> None:
    read = read_samples(
        NOW, [{"service": "shop/checkout", "metric": "latency_p95_ms", "value": 250}]
    )
    frame = read.delivery.frame
    assert frame is not None
    spec = frame.series[0]
    assert (spec.entity, spec.metric, spec.role, spec.unit) == (
        "shop/checkout",
        "latency_p95_ms",
        Role.LATENCY,
        "seconds",
    )
    assert (frame.timestamp.tolist(), frame.value.tolist()) == ([NOW], [0.25])


def test_what_is_said_counts_more_than_the_name() -> None:
    item = {
        "entity": "db",
        "metric": "requests_total",
        "value": 12,
        "timestamp": "2025-12-31T23:59:00Z",
        "labels": {"zone": "b", "code": "500"},
        "unit": "{request}",
        "kind": "gauge",
        "role": "errors",
    }
    frame = read_samples(NOW, [item]).delivery.frame
    assert frame is not None
    spec = frame.series[0]
    assert (spec.kind, spec.role, spec.unit) == (MetricKind.GAUGE, Role.ERRORS, "{request}")
    assert spec.labels == (("code", "500"), ("zone", "b"))
    assert frame.timestamp.tolist() == [NOW - 60_000]


def test_samples_of_one_series_share_a_row() -> None:
    items = [
        {"service": "a", "metric": "rps", "value": v, "timestamp": NOW + v} for v in range(3)
    ] + [{"service": "b", "metric": "rps", "value": 9}]
    frame = read_samples(NOW, items).delivery.frame
    assert frame is not None
    assert (len(frame.series), frame.index.tolist()) == (2, [0, 0, 0, 1])


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ({"metric": "m", "value": 1}, "name what was measured in `entity` (or `service`), once"),
        (
            {"entity": "a", "service": "a", "metric": "m", "value": 1},
            "name what was measured in `entity` (or `service`), once",
        ),
        ({"service": "a"}, "metric: Field required; value: Field required"),
        ({"service": "a", "metric": "m", "value": "nan"}, "value: Input should be a finite number"),
        (
            {"service": "a", "metric": "m", "value": 1, "timestamp": 1_700_000_000},
            (
                "timestamp: is before the year 2000; write milliseconds since the epoch, "
                "or RFC 3339 text"
            ),
        ),
        (
            {"service": "a", "metric": "m", "value": 1, "tags": {}},
            "tags: Extra inputs are not permitted",
        ),
        (
            {"service": " ", "metric": "m", "value": 1},
            "service: String should have at least 1 character",
        ),
    ],
)
def test_a_bad_sample_is_told_why_and_does_not_spoil_the_others(
    item: dict[str, object], reason: str
) -> None:
    read = read_samples(NOW, [item, {"service": "a", "metric": "m", "value": 1}])
    assert [(bad.position, bad.reason) for bad in read.bad] == [(0, reason)]
    assert read.understood == 1


def test_something_that_is_no_sample_at_all() -> None:
    read = read_samples(NOW, [3, None, "x"])
    assert [bad.position for bad in read.bad] == [0, 1, 2]
    assert read.delivery.is_empty


def test_a_body_has_a_limit() -> None:
    with pytest.raises(ValueError, match=f"send at most {MAX_SAMPLES} at once"):
        read_samples(NOW, [None] * (MAX_SAMPLES + 1))


async def test_the_push_source_takes_samples_while_it_runs_and_there_is_room() -> None:
    plugin = load("dos.ingest.sources", "push")
    push = plugin.build(plugin.config(), name="push", clock=ManualClock(NOW), rng=Random(1))
    delivery = read_samples(NOW, [{"service": "a", "metric": "m", "value": 1}]).delivery
    sink = RecordingSink(capacity=2)

    assert not push.offer(delivery)
    task = asyncio.create_task(push.run(sink))
    await asyncio.sleep(0)
    assert sink.deliveries == [Delivery()]  # the sign of life
    assert push.offer(delivery)
    assert not push.offer(delivery)
    sink.drain()
    assert push.offer(delivery)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not push.offer(delivery)
