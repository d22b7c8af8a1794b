from __future__ import annotations

import math

import numpy as np
import pytest
import structlog

from dos.ingest.base import Delivery
from dos.ingest.normalise import Normaliser, NormaliserConfig, Refusal
from dos.kit.clock import MINUTE, Millis
from dos.model.ids import EntityId
from dos.model.intake import Intake
from dos.model.registry import SeriesRegistry
from dos.model.telemetry import MetricKind, Role, SampleFrame, SeriesSpec

NOW = Millis(1_000_000_000)
COUNTER = MetricKind.COUNTER


def spec(name: str = "a", kind: MetricKind = MetricKind.GAUGE, unit: str = "") -> SeriesSpec:
    return SeriesSpec(entity=EntityId("checkout"), metric=name, kind=kind, unit=unit)


def frame(
    samples: list[tuple[int, int, float]], series: tuple[SeriesSpec, ...] | None = None
) -> Delivery:
    """`samples` are (row, time, value)."""
    rows, times, values = zip(*samples, strict=True)
    return Delivery(
        frame=SampleFrame(
            series=series or (spec(),),
            index=np.array(rows, np.int32),
            timestamp=np.array(times, np.int64),
            value=np.array(values, np.float64),
        )
    )


def taken(intake: Intake) -> list[tuple[int, int, float]]:
    batch = intake.metrics
    return list(
        zip(batch.series_id.tolist(), batch.timestamp.tolist(), batch.value.tolist(), strict=True)
    )


@pytest.fixture
def normaliser() -> Normaliser:
    return Normaliser(SeriesRegistry())


def refused(normaliser: Normaliser) -> dict[Refusal, int]:
    return dict(normaliser.counts("s").refused)


def test_a_series_is_announced_once(normaliser: Normaliser) -> None:
    series = (spec("a"), spec("b"))
    first = normaliser.take(NOW, "s", frame([(0, 1, 1.0), (1, 1, 2.0)], series))
    again = normaliser.take(NOW, "s", frame([(0, 2, 1.0)], series))
    other_table = normaliser.take(NOW, "s", frame([(0, 3, 1.0)], (spec("b"), spec("c"))))

    assert [one.spec.metric for one in first.series] == ["a", "b"]
    assert again.series == ()
    assert [one.spec.metric for one in other_table.series] == ["c"]
    assert taken(other_table) == [(1, 3, 1.0)]


def test_nan_and_infinity_are_dropped_and_counted(normaliser: Normaliser) -> None:
    samples = [(0, 1, math.nan), (0, 2, math.inf), (0, 3, -math.inf), (0, 4, 5.0)]
    intake = normaliser.take(NOW, "s", frame(samples))
    assert taken(intake) == [(0, 4, 5.0)]
    assert refused(normaliser) == {Refusal.NON_FINITE: 3}


def test_duplicates_and_late_samples_are_dropped(normaliser: Normaliser) -> None:
    normaliser.take(NOW, "s", frame([(0, 10, 1.0)]))
    intake = normaliser.take(NOW, "s", frame([(0, 10, 2.0), (0, 9, 3.0), (0, 11, 4.0)]))
    assert taken(intake) == [(0, 11, 4.0)]
    assert refused(normaliser) == {Refusal.DUPLICATE: 1, Refusal.OUT_OF_ORDER: 1}


def test_a_repeated_time_within_a_delivery_keeps_the_first(normaliser: Normaliser) -> None:
    intake = normaliser.take(NOW, "s", frame([(0, 5, 1.0), (0, 5, 2.0), (0, 6, 3.0)]))
    assert taken(intake) == [(0, 5, 1.0), (0, 6, 3.0)]
    assert refused(normaliser) == {Refusal.DUPLICATE: 1}


def test_a_delivery_is_put_in_order_of_time(normaliser: Normaliser) -> None:
    series = (spec("a"), spec("b"))
    samples = [(1, 3, 1.0), (0, 2, 2.0), (1, 1, 3.0), (0, 3, 4.0)]
    intake = normaliser.take(NOW, "s", frame(samples, series))
    assert taken(intake) == [(1, 1, 3.0), (0, 2, 2.0), (0, 3, 4.0), (1, 3, 1.0)]
    assert refused(normaliser) == {}


def test_history_goes_before_live_samples_only_of_series_that_have_none(
    normaliser: Normaliser,
) -> None:
    series = (spec("a"), spec("b"))
    normaliser.take(NOW, "s", frame([(0, 100, 1.0)], series))
    past = frame([(0, 50, 1.0), (1, 50, 2.0)], series)
    intake = normaliser.take(NOW, "s", Delivery(frame=past.frame, history=True))
    assert intake.history
    assert taken(intake) == [(1, 50, 2.0)]
    assert refused(normaliser) == {Refusal.OUT_OF_ORDER: 1}


def test_the_future_is_refused_but_clocks_may_differ(normaliser: Normaliser) -> None:
    ahead = NOW + 5 * MINUTE
    intake = normaliser.take(NOW, "s", frame([(0, ahead, 1.0), (0, ahead + 1, 2.0)]))
    assert taken(intake) == [(0, ahead, 1.0)]
    assert refused(normaliser) == {Refusal.FUTURE: 1}


def test_a_counter_becomes_a_rate_per_second(normaliser: Normaliser) -> None:
    series = (spec("requests_total", COUNTER), spec("cpu", COUNTER, "seconds"))
    first = normaliser.take(NOW, "s", frame([(0, 0, 10.0), (1, 0, 1.0)], series))
    second = normaliser.take(NOW, "s", frame([(0, 10_000, 30.0), (1, 5_000, 2.0)], series))

    assert taken(first) == []
    assert [(one.spec.kind, one.spec.unit) for one in first.series] == [
        (MetricKind.GAUGE, "1/s"),
        (MetricKind.GAUGE, "seconds/s"),
    ]
    assert taken(second) == [(1, 5_000, 0.2), (0, 10_000, 2.0)]
    assert refused(normaliser) == {Refusal.COUNTER_START: 2}


def test_a_counter_that_drops_was_restarted_from_zero(normaliser: Normaliser) -> None:
    series = (spec("requests_total", COUNTER),)
    samples = [(0, 0, 100.0), (0, 1_000, 110.0), (0, 2_000, 4.0), (0, 3_000, 6.0)]
    intake = normaliser.take(NOW, "s", frame(samples, series))
    assert taken(intake) == [(0, 1_000, 10.0), (0, 2_000, 4.0), (0, 3_000, 2.0)]


def test_no_rate_over_a_long_gap(normaliser: Normaliser) -> None:
    series = (spec("requests_total", COUNTER),)
    late = 5 * MINUTE + 1
    samples = [(0, 0, 1.0), (0, late, 2.0), (0, late + 1_000, 3.0)]
    intake = normaliser.take(NOW, "s", frame(samples, series))
    assert taken(intake) == [(0, late + 1_000, 1.0)]
    assert refused(normaliser) == {Refusal.COUNTER_START: 2}


def test_a_missing_counter_sample_does_not_break_the_rate(normaliser: Normaliser) -> None:
    series = (spec("requests_total", COUNTER),)
    samples = [(0, 0, 1.0), (0, 1_000, math.nan), (0, 2_000, 5.0)]
    assert taken(normaliser.take(NOW, "s", frame(samples, series))) == [(0, 2_000, 2.0)]


def test_gauges_beside_counters_pass_unchanged(normaliser: Normaliser) -> None:
    series = (spec("requests_total", COUNTER), spec("memory"))
    for at in (0, 1_000):
        intake = normaliser.take(NOW, "s", frame([(0, at, at / 100), (1, at, 7.0)], series))
    assert taken(intake) == [(0, 1_000, 10.0), (1, 1_000, 7.0)]


def test_a_source_may_have_only_so_many_series() -> None:
    registry = SeriesRegistry()
    normaliser = Normaliser(registry, NormaliserConfig(max_series_per_source=2))
    series = tuple(spec(name) for name in "abcd")
    everything = [(row, 1, float(row)) for row in range(4)]
    with structlog.testing.capture_logs() as logged:
        intake = normaliser.take(NOW, "s", frame(everything, series))
        normaliser.take(NOW, "s", frame([(0, 2, 1.0)], (spec("e"),)))
    other = normaliser.take(NOW, "t", frame([(0, 1, 1.0)], (spec("f"),)))

    assert taken(intake) == [(0, 1, 0.0), (1, 1, 1.0)]
    assert refused(normaliser) == {Refusal.TOO_MANY_SERIES: 3}
    assert len(other.series) == 1
    assert len(registry) == 3
    assert [(line["log_level"], line["first_refused"]) for line in logged] == [
        ("warning", "checkout c")
    ]


def test_after_a_restart_what_was_taken_is_a_duplicate() -> None:
    registry = SeriesRegistry()
    Normaliser(registry).take(NOW, "s", frame([(0, 10, 1.0)]))

    restarted = Normaliser(registry)
    restarted.restore({registry[0].id: Millis(10)})
    restarted.restore({registry[0].id: Millis(3)})
    intake = restarted.take(NOW, "s", frame([(0, 9, 1.0), (0, 10, 1.0), (0, 11, 1.0)]))
    assert taken(intake) == [(0, 11, 1.0)]
    assert refused(restarted) == {Refusal.DUPLICATE: 1, Refusal.OUT_OF_ORDER: 1}


def test_accepted_and_refused_add_up(normaliser: Normaliser) -> None:
    normaliser.take(NOW, "s", frame([(0, 1, 1.0), (0, 1, 1.0), (0, 2, math.nan), (0, 3, 1.0)]))
    counts = normaliser.counts("s")
    assert counts.accepted + sum(counts.refused.values()) == 4
    assert normaliser.sources == ("s",)
    assert normaliser.counts("nobody").accepted == 0


def test_what_is_not_samples_passes_through(normaliser: Normaliser) -> None:
    assert normaliser.take(NOW, "s", Delivery()).metrics.series_id.tolist() == []
    kept = spec("latency")
    intake = normaliser.take(NOW, "s", frame([(0, 1, 1.0)], (kept,)))
    assert (intake.now, intake.source, intake.series[0].spec.role) == (NOW, "s", Role.OTHER)


def test_series_tables_are_not_kept_forever(normaliser: Normaliser) -> None:
    for number in range(200):  # a source of pushed samples: a new tuple every time
        intake = normaliser.take(NOW, "s", frame([(0, number, 1.0)], (spec("a"),)))
        assert taken(intake) == [(0, number, 1.0)]
    assert len(normaliser._tables) <= 64
