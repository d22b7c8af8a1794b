"""The baselines: what they take for abnormal, and how they group it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dos.evaluate.bench.baseline import (
    LEARNED,
    PATIENCE,
    REST,
    ThreeSigma,
    Thresholds,
    Watcher,
)
from dos.evaluate.bench.outcome import Contender, Raised
from dos.ingest.base import Delivery
from dos.kit.clock import SECOND
from dos.model.ids import EntityId
from dos.model.telemetry import MetricKind, SampleFrame, SeriesSpec

STEP = 5.0


def series(entity: str, metric: str, kind: MetricKind = MetricKind.GAUGE) -> SeriesSpec:
    return SeriesSpec(entity=EntityId(entity), metric=metric, kind=kind)


TABLE = (series("a", "cpu_usage"), series("a", "error_rate"), series("b", "cpu_usage"))


def live(number: int, values: Sequence[float], table: tuple[SeriesSpec, ...] = TABLE) -> Delivery:
    """The sample of step `number`."""
    when = round(number * STEP * SECOND)
    return Delivery(frame=SampleFrame.at(table, when, np.array(values)))


def feed(watcher: Watcher, rows: Sequence[Sequence[float]], first: int = 1) -> None:
    for number, values in enumerate(rows, first):
        watcher.take(live(number, values))


def thresholds() -> Watcher:
    return Watcher(Contender.THRESHOLDS, Thresholds())


def names(one: Raised) -> list[str]:
    return [entity for entity, _ in one.last.order]


class TestThresholds:
    def test_only_what_is_above_a_limit_counts(self) -> None:
        watcher = thresholds()
        feed(watcher, [[0.8, 0.1, 0.1], [0.79, 0.0, 0.8]])
        assert watcher.told().raised == []
        feed(watcher, [[0.81, 0.0, 0.1]], first=3)
        (one,) = watcher.told().raised
        assert (one.opened_at, one.entities, one.resolved_at) == (15_000, ("a",), None)

    def test_a_metric_without_a_limit_never_does(self) -> None:
        watcher = thresholds()
        watcher.take(live(1, [1e9], (series("a", "latency_p95"),)))
        assert watcher.told().raised == []

    def test_suspects_are_ranked_by_how_far_they_went(self) -> None:
        watcher = thresholds()
        feed(watcher, [[0.9, 0.0, 0.95], [0.9, 0.4, 0.95]])
        (one,) = watcher.told().raised
        assert [entity for entity, _ in one.told.order] == ["b", "a"]
        assert names(one) == ["a", "b"]
        assert dict(one.last.order)["a"] == 4.0

    def test_no_value_is_no_alarm(self) -> None:
        watcher = thresholds()
        feed(watcher, [[float("nan")] * 3])
        assert watcher.told().raised == []


class TestGrouping:
    def test_what_is_abnormal_at_the_same_time_is_one_incident(self) -> None:
        watcher = thresholds()
        bad, good = [0.9, 0.0, 0.1], [0.1, 0.0, 0.1]
        other = [0.1, 0.0, 0.9]
        rest = round(REST / STEP)
        feed(watcher, [bad, *[good] * (rest - 1), other, *[good] * rest, bad])
        first, second = watcher.told().raised
        assert first.entities == ("a", "b")
        assert first.resolved_at == (1 + rest + rest) * STEP * SECOND
        assert second.entities == ("a",)
        assert first.id != second.id

    def test_alerts_are_stretches_of_single_series(self) -> None:
        watcher = thresholds()
        both, one, none = [0.9, 0.0, 0.9], [0.9, 0.0, 0.1], [0.1, 0.0, 0.1]
        feed(watcher, [both, both, one, both, none, one])
        assert watcher.told().alerts == 2 + 1 + 1

    def test_history_is_learned_from_and_never_an_alarm(self) -> None:
        watcher = thresholds()
        watcher.take(Delivery(frame=live(1, [0.9, 0.9, 0.9]).frame, history=True))
        watcher.take(Delivery())
        assert watcher.told().raised == []
        assert watcher.told().alerts == 0


def noise(count: int, seed: int = 1) -> np.ndarray:
    """`[time, series]` around 0.5."""
    return 0.5 + 0.01 * np.random.default_rng(seed).standard_normal((count, len(TABLE)))


def history(values: np.ndarray) -> Delivery:
    """All rows in one delivery."""
    count, width = values.shape
    frame = SampleFrame(
        series=TABLE,
        index=np.tile(np.arange(width, dtype=np.int32), count),
        timestamp=np.repeat(np.arange(1, count + 1) * round(STEP * SECOND), width),
        value=values.ravel(),
    )
    return Delivery(frame=frame, history=True)


def sigma() -> Watcher:
    return Watcher(Contender.THREE_SIGMA, ThreeSigma(STEP))


class TestThreeSigma:
    def test_it_waits_for_several_samples_in_a_row(self) -> None:
        for length, incidents in ((PATIENCE - 1, 0), (PATIENCE, 1)):
            watcher = sigma()
            watcher.take(history(noise(500)))
            feed(watcher, [[0.5, 0.5, 0.7]] * length + [[0.5, 0.5, 0.5]], first=501)
            assert len(watcher.told().raised) == incidents

    def test_both_sides_count_and_the_greatest_deviation_comes_first(self) -> None:
        watcher = sigma()
        watcher.take(history(noise(500)))
        feed(watcher, [[0.4, 0.5, 0.9]] * PATIENCE, first=501)
        (one,) = watcher.told().raised
        assert names(one) == ["b", "a"]

    def test_mean_and_deviation_are_those_of_the_samples(self) -> None:
        """Less than the memory's worth of samples are weighted alike, so numpy must agree."""
        detector = ThreeSigma(STEP)
        detector.add(TABLE)
        values = noise(300)
        rows = np.arange(len(TABLE), dtype=np.int64)
        for row in values:
            detector.look(rows, row, history=True)
        probe = np.full(len(TABLE), 0.6)
        _, strength = detector.look(rows, probe, history=False)
        expected = (0.6 - values.mean(axis=0)) / values.std(axis=0)
        np.testing.assert_allclose(strength, expected, rtol=1e-3)

    def test_a_series_is_judged_after_it_was_learned(self) -> None:
        watcher = sigma()
        feed(watcher, [[0.5, 0.5, 0.5]] * 5 + [[0.5, 0.5, 9.0]] * (LEARNED - 10))
        assert watcher.told().raised == []

    def test_noise_alone_is_no_alarm(self) -> None:
        watcher = sigma()
        feed(watcher, noise(1500).tolist())
        assert watcher.told().raised == []

    def test_of_a_counter_the_increase_counts(self) -> None:
        table = (series("a", "restarts", MetricKind.COUNTER),)
        detector = ThreeSigma(STEP)
        detector.add(table)
        row = np.zeros(1, np.int64)
        total, verdicts = 0.0, []
        for number in range(400):
            total += 2.0 if number < 395 else 50.0
            abnormal, _ = detector.look(row, np.array([total]), history=False)
            verdicts.append(bool(abnormal[0]))
        assert not any(verdicts[:397])
        assert any(verdicts[397:])

    def test_a_gap_teaches_nothing(self) -> None:
        with_gap, without = ThreeSigma(STEP), ThreeSigma(STEP)
        rows = np.arange(len(TABLE), dtype=np.int64)
        for detector in (with_gap, without):
            detector.add(TABLE)
            for row in noise(100):
                detector.look(rows, row, history=False)
        with_gap.look(rows, np.full(len(TABLE), np.nan), history=False)
        probe = np.full(len(TABLE), 0.55)
        got, expected = (one.look(rows, probe, history=False)[1] for one in (with_gap, without))
        np.testing.assert_array_equal(got, expected)

    def test_one_delivery_of_many_times_is_many_of_one(self) -> None:
        values = noise(200)
        at_once, one_by_one = sigma(), sigma()
        at_once.take(history(values))
        for number, row in enumerate(values, 1):
            frame = live(number, row.tolist()).frame
            one_by_one.take(Delivery(frame=frame, history=True))
        bad = [[0.5, 0.5, 0.54]] * 20
        for watcher in (at_once, one_by_one):
            feed(watcher, bad, first=201)
        assert at_once.told() == one_by_one.told()
        assert len(at_once.told().raised) == 1

    def test_a_table_with_new_series_continues_the_known_ones(self) -> None:
        watcher = sigma()
        watcher.take(history(noise(500)))
        more = (*TABLE, series("c", "cpu_usage"))
        for number in range(PATIENCE):
            watcher.take(live(501 + number, [0.5, 0.5, 0.9, 5.0], more))
        (one,) = watcher.told().raised
        assert one.entities == ("b",)
