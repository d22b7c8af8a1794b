"""The page budget: levels follow from what was crossed for nothing."""

from __future__ import annotations

import numpy as np
import pytest

from dos.incidents.budget import HIGHEST, LOWEST, Budget, chance_of_nothing, starting_level
from dos.incidents.correlate import Correlator, IncidentsConfig
from dos.kit.clock import DAY, HOUR, Millis
from dos.model.ids import IncidentId
from dos.model.telemetry import Role
from tests.unit.incidents.timeline import START, Timeline, anomaly, at, graph_of

BEGIN = Millis(START - START % HOUR)


def later(days: float) -> Millis:
    return Millis(BEGIN + round(days * DAY))


def lived(
    budget: float, per_week: float, *, weeks: int = 12, services: int = 20, seed: int = 1
) -> tuple[Budget, list[float]]:
    """Weeks in which clusters come for nothing; evidence is exponential above `LOWEST`.

    Args:
        budget: False pages per service-week.
        per_week: Clusters per service-week, of any evidence.
        weeks: How long.
        services: Watched.
        seed: Of the clusters.

    Returns:
        The budget, and how many crossed the level of their time per service-week, week by week.
    """
    rng = np.random.default_rng(seed)
    kept = Budget(level=starting_level(budget))
    false = []
    for week in range(weeks):
        crossed = 0
        for hour in range(7 * 24):
            now = later(week * 7 + hour / 24)
            kept.advance(budget, services, now)
            for number in range(rng.poisson(per_week * services / (7 * 24))):
                evidence = LOWEST + rng.exponential(0.5)
                opened = evidence >= kept.level
                crossed += opened
                name = IncidentId(f"inc-{week}-{hour}-{number}") if opened else None
                kept.over(evidence, now, name)
                if name:
                    kept.label(name, nothing=True)
        false.append(crossed / services)
    return kept, false


def test_the_usual_budget_asks_for_the_usual_evidence() -> None:
    assert starting_level(2.0) == pytest.approx(1.0)
    levels = [starting_level(one) for one in (0.1, 0.5, 1.0, 2.0, 8.0, 1000.0)]
    assert levels == sorted(levels, reverse=True)
    assert levels[1] == pytest.approx(1.5)
    assert levels[4] == pytest.approx(0.75)
    assert levels[-1] == LOWEST


@pytest.mark.parametrize("budget", [0.5, 2.0, 8.0])
@pytest.mark.parametrize("per_week", [1.0, 10.0, 40.0])
def test_the_budget_is_held_however_noisy_the_fleet_is(budget: float, per_week: float) -> None:
    _, false = lived(budget, per_week)
    assert np.mean(false[4:]) <= 1.2 * budget


def test_a_noisy_fleet_spends_its_budget_and_a_calm_one_gains_by_it() -> None:
    _, noisy = lived(2.0, 40.0)
    assert np.mean(noisy[4:]) > 0.5, "not by going deaf"
    calm, _ = lived(2.0, 0.05)
    assert calm.level < 0.8


def test_a_larger_budget_asks_for_less() -> None:
    levels = [lived(budget, 10.0)[0].level for budget in (0.5, 2.0, 8.0)]
    assert levels == sorted(levels, reverse=True)
    assert levels[0] > levels[-1]


def test_confirmed_ones_do_not_count() -> None:
    levels = []
    for nothing in (True, None, False):
        kept = Budget(level=1.0)
        for hour in range(24 * 21):
            now = later(hour / 24)
            kept.advance(2.0, 5, now)
            kept.over(1.5, now, IncidentId(f"inc-{hour}"))
            assert kept.label(IncidentId(f"inc-{hour}"), nothing=nothing)
        levels.append(kept.level)
    assert levels[0] > levels[2]
    assert levels[0] >= levels[1] >= levels[2]
    assert levels[0] > 1.5, "what is false that often is not enough"


def test_labels_tell_of_those_like_it() -> None:
    counts = []
    for nothing in (True, False):
        kept = Budget(level=1.0)
        kept.advance(2.0, 5, later(0))
        for number in range(20):
            kept.over(2.0, later(0), IncidentId(f"inc-{number}"))
            kept.label(IncidentId(f"inc-{number}"), nothing=nothing)
        before = sum(kept.counts.values())
        kept.over(2.2, later(0))
        counts.append(sum(kept.counts.values()) - before)
    assert counts[0] > 0.9
    assert counts[1] < 0.1


def test_labels_can_be_taken_back_and_reach_only_what_is_remembered() -> None:
    kept, name = Budget(level=1.0), IncidentId("inc-1")
    kept.advance(2.0, 5, later(0))
    kept.over(1.4, later(0), name)
    kept.advance(2.0, 5, later(3))
    before = dict(kept.counts)
    assert kept.label(name, nothing=True)
    assert sum(kept.counts.values()) > sum(before.values())
    assert kept.label(name, nothing=None)
    assert kept.counts == pytest.approx(before)
    assert not kept.label(IncidentId("inc-2"), nothing=True)


def test_one_bad_night_does_not_make_deaf() -> None:
    kept = Budget(level=1.0)
    kept.advance(2.0, 5, later(0))
    for minute in range(8 * 60):
        now = later(minute / 1440)
        kept.advance(2.0, 5, now)
        kept.over(3.0, now, IncidentId(f"inc-{minute}"))
        kept.label(IncidentId(f"inc-{minute}"), nothing=True)
    assert 1.0 < kept.level < 1.2


def test_the_strong_are_hardly_ever_for_nothing() -> None:
    assert chance_of_nothing(0.6) == chance_of_nothing(1.0) == 1.0
    assert chance_of_nothing(6.0) < 0.001


def test_looking_more_often_changes_nothing() -> None:
    often, seldom = Budget(level=1.0), Budget(level=1.0)
    for one, step in ((often, 1), (seldom, 360)):
        for minute in range(0, 5 * 1440, step):
            one.advance(2.0, 7, later(minute / 1440))
        one.advance(2.0, 7, later(5))
    assert often == seldom


def test_levels_stay_in_bounds_and_clocks_may_jump() -> None:
    kept = Budget(level=1.0)
    for days in (0, 1, -5, 4000, 4001):
        kept.advance(0.001, 1, later(days))
        for evidence in (0.0, 0.3, 1e9):
            kept.over(evidence, later(days))
        assert LOWEST <= kept.level <= HIGHEST


def test_the_budget_of_the_configuration_sets_what_opens() -> None:
    def opened(page_budget: float) -> int | None:
        timeline = Timeline(graph_of("cart > db"), page_budget=page_budget)
        timeline.begin(anomaly("cart", 0, Role.ERRORS, strength=2.2))
        found = timeline.ticks(range(0, 600, 5))
        return (found[0].opened_at - at(0)) // 1000 if found else None

    assert opened(2.0) == 55
    assert opened(0.2) is None
    assert opened(8.0) == 45


def test_the_budget_survives_a_restart() -> None:
    timeline = Timeline(graph_of("cart > db"))
    timeline.begin(anomaly("cart", 0, Role.ERRORS), anomaly("cart", 0, Role.LATENCY))
    (incident,) = timeline.tick(10)
    timeline.end_all(20)
    timeline.ticks(range(20, 100, 5))
    other = Correlator(IncidentsConfig())
    other.load(timeline.correlator.dump())
    assert other.label(incident.id, nothing=True)
    assert other.level == timeline.correlator.level
