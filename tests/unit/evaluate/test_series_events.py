"""Alarms against anomalies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dos.evaluate.series.events import GRACE, EventScore, Judged, at_recall, judge
from dos.model.telemetry import BoolArray
from tests.unit.evaluate.vus_cases import labels, uniform

ANOMALY = (100, 119)


def judged(*alarms: tuple[int, int], prefix: int = 0) -> EventScore:
    """Alarms against one anomaly from 100 to 119 in 300 minutes."""
    return judge(labels(300, ANOMALY), labels(300, *alarms), prefix, 60.0)


def test_an_alarm_inside_finds_the_anomaly() -> None:
    score = judged((105, 130))
    assert (score.found, score.delays, score.alarms, score.false) == ((True,), (5,), 1, 0)
    assert score.days == pytest.approx(300 / 1_440)


def test_no_alarm_misses_it() -> None:
    score = judged()
    assert (score.found, score.delays, score.alarms, score.false) == ((False,), (), 0, 0)


@pytest.mark.parametrize(
    ("alarm", "found", "false", "delay"),
    [
        ((100 - GRACE, 105), True, 0, (0,)),
        ((100 - GRACE - 1, 105), False, 1, ()),
        ((119 + GRACE, 140), True, 0, (19 + GRACE,)),
        ((119 + GRACE + 1, 140), False, 1, ()),
        # It was over when the anomaly began: not wrong, but of no use.
        ((93, 97), False, 0, ()),
        # On all the time: tells nothing.
        ((0, 299), False, 1, ()),
    ],
)
def test_an_alarm_counts_by_when_it_begins(
    alarm: tuple[int, int], found: bool, false: int, delay: tuple[int, ...]
) -> None:
    score = judged(alarm)
    assert (score.found, score.false, score.delays) == ((found,), false, delay)


def test_several_alarms_of_one_anomaly_count_once_and_are_not_false() -> None:
    score = judged((102, 103), (110, 112), (200, 201))
    assert (score.found, score.alarms, score.false, score.delays) == ((True,), 3, 1, (2,))


def test_stretches_close_together_are_one_anomaly() -> None:
    close = labels(300, (100, 102), (102 + GRACE, 115), (200, 210))
    score = judge(close, labels(300, (113, 114)), 0, 60.0)
    assert (score.anomalies, score.found, score.delays) == (2, (True, False), (13,))


def test_an_alarm_between_two_anomalies_belongs_to_the_one_before() -> None:
    two = labels(300, (100, 110), (125, 135))
    score = judge(two, labels(300, (118, 122)), 0, 60.0)
    assert (score.found, score.false) == ((True, False), 0)
    score = judge(two, labels(300, (123, 130)), 0, 60.0)
    assert (score.found, score.false) == ((False, True), 0)


def test_the_prefix_is_not_judged() -> None:
    score = judged((20, 30), (105, 110), prefix=50)
    assert (score.alarms, score.false, score.delays) == (1, 0, (5,))
    assert score.days == pytest.approx(250 / 1_440)
    # An anomaly and an alarm that are on at its end begin there.
    score = judged((90, 125), prefix=110)
    assert (score.anomalies, score.found, score.delays) == (1, (True,), (0,))


def test_time_on_leaves_the_anomaly_and_its_grace_out() -> None:
    score = judged((105, 199))
    assert score.quiet == 300 - 20 - 2 * GRACE
    assert score.on == 199 - (119 + GRACE)


@given(
    seed=st.integers(0, 1_000),
    density=st.floats(0.0, 1.0),
    marks=st.floats(0.0, 0.5),
    prefix=st.integers(0, 200),
)
def test_counts_are_consistent(seed: int, density: float, marks: float, prefix: int) -> None:
    alarm: BoolArray = uniform(seed, 200) < density
    marked: BoolArray = uniform(seed + 1, 200) < marks
    score = judge(marked, alarm, prefix, 60.0)
    assert len(score.found) == score.anomalies
    assert len(score.delays) == sum(score.found)
    assert all(delay >= 0 for delay in score.delays)
    assert 0 <= score.false <= score.alarms
    assert 0 <= score.on <= score.quiet <= 200 - prefix


def series(height: float, *, spikes: int = 0, seed: int = 0) -> Judged:
    """Noise below 1, an anomaly of that height, and false spikes of height 2."""
    marked = labels(1_000, (500, 509))
    score = uniform(seed, 1_000) + height * marked
    score[600 : 600 + 20 * spikes : 20] = 2.0
    return Judged(labels=marked, score=score, prefix=100, step_s=86_400.0 / 900)


def test_one_threshold_for_all_series_and_what_it_costs() -> None:
    fleet = [series(3.0, seed=1), series(2.5, seed=2), series(0.5, spikes=5, seed=3)]
    point = at_recall(fleet, 0.6)
    assert point is not None
    assert point.recall == pytest.approx(2 / 3)
    assert point.threshold > 2.0
    assert point.false_per_day == 0.0
    # All three need a threshold below the false spikes: 5 on one of three days at least.
    point = at_recall(fleet, 1.0)
    assert point is not None
    assert point.threshold < 2.0
    assert point.false_per_day >= 5 / 3


def test_a_score_that_never_moves_reaches_no_recall() -> None:
    flat = Judged(labels=labels(100, (50, 55)), score=np.zeros(100), prefix=10, step_s=60.0)
    assert at_recall([flat], 0.6) is None
