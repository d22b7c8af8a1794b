"""Faults in somebody's own history: seeded, where they say they are, and found."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from dos.app import wiring
from dos.app.settings import Settings
from dos.bus.base import Entry
from dos.detect.promotion import judge
from dos.evaluate.backtest.compare import figures
from dos.evaluate.backtest.inject import injected
from dos.evaluate.backtest.past import Known, KnownKind, Past
from dos.evaluate.backtest.run import fly
from dos.kit.clock import HOUR, SECOND, Millis
from dos.model.graph import EdgeEvidence
from dos.model.ids import EntityId, SeriesId
from dos.model.intake import Intake
from dos.model.telemetry import MetricBatch, Role, Series, SeriesSpec

BEGAN = Millis(1_767_571_200_000)
STEP = 15 * SECOND
ROLES = (
    ("requests", Role.TRAFFIC, "1/s", 100.0),
    ("latency_p95", Role.LATENCY, "seconds", 0.2),
    ("error_ratio", Role.ERRORS, "ratio", 0.002),
    ("cpu_usage", Role.SATURATION, "ratio", 0.4),
)
NAMES = ("web", "cart", "db")
SERIES = tuple(
    Series(
        id=SeriesId(4 * place + kind),
        spec=SeriesSpec(entity=EntityId(name), metric=metric, role=role, unit=unit),
    )
    for place, name in enumerate(NAMES)
    for kind, (metric, role, unit, _) in enumerate(ROLES)
)
BASE = np.tile([base for *_, base in ROLES], len(NAMES))
EDGES = tuple(
    EdgeEvidence(caller=EntityId(caller), callee=EntityId(callee), source="declared", seen_at=BEGAN)
    for caller, callee in (("web", "cart"), ("cart", "db"))
)


def calm(hours: float = 8.0, **known: object) -> Past:
    """A small shop on a quiet day."""

    def read() -> Iterator[Entry]:
        rng = np.random.default_rng(5)
        ids = np.arange(len(SERIES), dtype=np.int32)
        yield Entry(offset=1, intake=Intake(now=BEGAN, series=SERIES, edges=EDGES))
        for tick in range(1, round(hours * HOUR / STEP)):
            at = Millis(BEGAN + tick * STEP)
            value = BASE * np.exp(0.03 * rng.standard_normal(len(SERIES)))
            times = np.full(len(SERIES), at, np.int64)
            metrics = MetricBatch(series_id=ids, timestamp=times, value=value)
            yield Entry(offset=tick + 1, intake=Intake(now=at, metrics=metrics))

    return Past(name="calm", read=read, since=Millis(BEGAN + HOUR), **known)  # type: ignore[arg-type]


def table(past: Past) -> np.ndarray:
    """`[tick, series]`."""
    return np.stack([e.intake.metrics.value for e in past.read() if len(e.intake.metrics)])


def test_the_same_seed_gives_the_same_faults_and_another_one_others() -> None:
    one, again, other = injected(calm()), injected(calm()), injected(calm(), seed=1)
    assert one.known == again.known
    assert [k.start for k in one.known] != [k.start for k in other.known]
    assert np.array_equal(table(one), table(again))
    assert len(one.known) >= 5
    assert {k.kind for k in one.known} == {KnownKind.INJECTED}


def test_only_what_is_said_to_be_broken_is_changed() -> None:
    past = injected(calm())
    before, after = table(calm()), table(past)
    at = BEGAN + STEP * np.arange(1, len(before) + 1)
    changed = np.abs(after - before) > 1e-12
    allowed = np.zeros_like(changed)
    for one in past.known:
        during = (at >= one.start) & (at < one.end)
        mine = [s.id for s in SERIES if s.spec.entity in one.entities]
        allowed[np.ix_(during, mine)] = True
        assert changed[during].any(), one.text
        assert one.start >= past.since
        root = [s.id for s in SERIES if s.spec.entity == one.entities[0]]
        assert changed[np.ix_(during, root)].any()
    assert not (changed & ~allowed).any()
    ratios = [s.id for s in SERIES if s.spec.unit == "ratio"]
    assert after[:, ratios].min() >= 0.0
    assert after[:, ratios].max() <= 1.0


def test_faults_keep_apart_from_each_other_and_from_what_is_known() -> None:
    whole_day = Known(
        id="real",
        kind=KnownKind.CONFIRMED,
        start=BEGAN,
        end=Millis(BEGAN + 24 * HOUR),
        entities=(EntityId("db"),),
        text="a bad day",
    )
    assert injected(calm(known=(whole_day,))).known == (whole_day,)
    starts = sorted((one.start, one.end) for one in injected(calm()).known)
    assert all(later[0] > earlier[1] for earlier, later in itertools.pairwise(starts))


def test_a_past_without_room_has_no_faults() -> None:
    assert injected(calm(hours=1.02)).known == ()


def test_strong_faults_in_a_calm_past_are_found_and_nothing_else_is() -> None:
    settings = Settings.model_validate(
        {"storage": {"url": wiring.IN_MEMORY}, "alerting": {"receivers": []}}
    )
    quiet = fly(calm(), settings)
    assert quiet.pages == ()
    past = injected(calm())
    counted = fly(past, settings).tally
    assert counted.known == len(past.known)
    assert counted.found >= 0.8 * counted.known
    assert counted.pages == counted.right


def test_the_better_model_is_promoted_and_the_worse_is_not() -> None:
    def settings(**detect: object) -> Settings:
        return Settings.model_validate(
            {
                "storage": {"url": wiring.IN_MEMORY},
                "alerting": {"receivers": []},
                "detect": detect,
            }
        )

    past = injected(calm())
    usual = figures(fly(past, settings()))
    deaf = figures(fly(past, settings(threshold={"minimum": 60.0})))
    assert judge(deaf, usual).better
    worse = judge(usual, deaf)
    assert not worse.better
    assert "instead of" in worse.reasons[0]
    slow = figures(fly(past, settings(confirm=60.0)))
    earlier = judge(slow, usual)
    assert earlier.better
    assert "earlier" in earlier.reasons[0]
    assert not judge(usual, slow).better
