"""Impact in the pipeline: what incidents cost, error budgets over restarts and skimmed blocks."""

from __future__ import annotations

from functools import lru_cache
from itertools import islice

import pytest

from dos.app import state, wiring
from dos.app.analyze import analyze
from dos.app.pipeline import Pipeline
from dos.app.settings import Settings
from dos.evaluate.backtest.inject import injected
from dos.kit.clock import SECOND
from dos.model.events import Decisions, IncidentChanged
from dos.model.ids import EntityId
from dos.model.impact import Impact, SloKind
from dos.model.incident import IncidentState
from tests.unit.app import played
from tests.unit.app.test_backend import calm as calm_values
from tests.unit.app.test_backend import faulty, posted
from tests.unit.evaluate.test_inject import calm

GATE = EntityId("api-gateway")
IMPACT = {
    "slos": [
        {"entity": GATE, "objective": 0.999},
        {"entity": GATE, "kind": "latency", "objective": 0.95, "threshold": "300ms"},
    ],
    "default_users_per_request": 0.2,
}


def pipeline() -> Pipeline:
    chosen = played.settings(impact=IMPACT)
    return wiring.build_pipeline(chosen, wiring.open_history(chosen, None), played.RECEIVERS)


@lru_cache(maxsize=1)
def decided() -> tuple[Decisions, ...]:
    return tuple(played.run(pipeline(), played.intakes()))


def impacts(place: int) -> list[tuple[IncidentState, Impact]]:
    """What was said of one incident, first to last."""
    wanted = played.incidents_of(decided())[place].id
    return [
        (one.event.incident.state, one.event.incident.impact)
        for step in decided()
        for one in step.events
        if isinstance(one.event, IncidentChanged)
        and one.event.incident.id == wanted
        and one.event.incident.impact is not None
    ]


def really() -> tuple[float, float]:
    """Requests at the gateway that failed in the second fault, as it counted them, and all."""
    rate, errors = {}, {}
    for entry in played.intakes():
        for series in entry.intake.series:
            if series.spec.entity == GATE:
                rate |= {series.id: 1} if series.spec.metric == "request_rate" else {}
                errors |= {series.id: 1} if series.spec.metric == "error_rate" else {}
    failed = whole = 0.0
    for entry in played.intakes():
        metrics = entry.intake.metrics
        began = played.START + 200 * SECOND
        for at in {int(one) for one in metrics.timestamp if began < one <= began + 95 * SECOND}:
            now = {
                int(series): float(value)
                for series, when, value in zip(
                    metrics.series_id, metrics.timestamp, metrics.value, strict=True
                )
                if when == at
            }
            requests = now[next(iter(rate))] * played.STEP
            whole += requests
            failed += requests * now[next(iter(errors))]
    return failed, whole


def test_a_closed_incident_says_what_it_cost() -> None:
    """The second fault makes every tenth request at the gateway fail for 80 s."""
    said = impacts(1)
    states = [one for one, _ in said]
    assert states[0] is IncidentState.OPEN
    assert states[-1] is IncidentState.RESOLVED
    final = said[-1][1]
    assert final.failed is not None
    failed, whole = really()
    usual = 0.003 * whole
    assert failed > 1000
    assert final.failed.low <= failed - usual * 0.5
    assert failed - usual * 2.0 <= final.failed.high
    assert final.users is not None
    counts = [one.failed.value for _, one in said if one.failed is not None]
    assert counts[0] < 0.5 * counts[-1]
    assert any(" failed and " in one or " failed because" in one for one in final.reasons)


def test_slow_answers_are_told_apart_from_failed_ones() -> None:
    """The first fault only delays a callee: answers are slow, and hardly any fails."""
    final = impacts(0)[-1][1]
    assert final.failed is not None
    assert final.slowed is not None
    assert final.slowed.low > 500
    assert final.failed.low == 0.0


def test_objectives_are_watched_while_an_incident_is_open() -> None:
    final = impacts(1)[-1][1]
    assert [one.kind for one in final.slos] == [SloKind.AVAILABILITY, SloKind.LATENCY]
    availability = final.slos[0]
    assert availability.burned is not None
    assert availability.by_incident is not None
    assert 0.0 < availability.by_incident < availability.burned
    assert availability.burns[0].rate_now is not None
    assert availability.burns[0].rate_now > 14.4


def test_the_budgets_survive_a_restart() -> None:
    entries = played.intakes()
    before = pipeline()
    first = played.run(before, entries[:40])
    data = state.dump(before)
    after = pipeline()
    after.parts.history = before.parts.history
    after.parts.diagnosis.history = before.parts.history
    state.load(after, data)
    assert state.dump(after) == data
    second = played.run(after, entries[40:])
    assert played.lines([*first, *second]) == played.lines(decided())
    assert after.parts.diagnosis.ledger.spent()


def test_blocks_that_are_skimmed_keep_the_same_books() -> None:
    settings = Settings.model_validate(
        {
            "storage": {"url": wiring.IN_MEMORY},
            "impact": {"slos": [{"entity": "web", "objective": 0.99}]},
        }
    )
    one, other = (
        wiring.build_pipeline(settings, wiring.open_history(settings, None), played.RECEIVERS)
        for _ in range(2)
    )
    entries = list(islice(injected(calm(2.0)).read(), 400))
    for first in range(0, len(entries), 20):
        block = entries[first : first + 20]
        if not one.skim([entry.intake for entry in block], block[-1].offset):
            played.run(one, block)
    played.run(other, entries)
    books = [each.parts.diagnosis.ledger for each in (one, other)]
    assert books[0].dump() == books[1].dump()
    spent = books[0].spent()["web availability"]
    assert spent.requests.sum() == pytest.approx(100.0 * spent.seconds.sum(), rel=0.05)


def test_posted_trouble_says_who_is_affected() -> None:
    """Of latency alone nobody can tell how many requests there are, and that is said."""
    found = analyze(played.settings(), posted(faulty())).impact
    assert found is not None
    assert {one.entity for one in found.affected if one.abnormal} == {"web", "shop", "db"}
    assert found.entry_points == ("web",)
    assert found.failed is None
    assert found.unknown == ("web: no series says how many requests there are.",)
    assert analyze(played.settings(), posted(calm_values())).impact is None
