"""The nouns: ids that repeat, columns that fit, canonical JSON, causes that may abstain."""

from __future__ import annotations

import numpy as np
import pytest

from dos.kit.clock import Millis
from dos.model.anomaly import Findings
from dos.model.change import Change, ChangeKind
from dos.model.events import RECORDED, ChangeSeen, Recorded
from dos.model.ids import ChangeId, EntityId, derive_id
from dos.model.rootcause import Hypothesis, RootCause
from dos.model.telemetry import MetricBatch, Role, SampleFrame, SeriesSpec


def test_ids_follow_from_what_they_name() -> None:
    assert derive_id("inc", 5, "a") == "inc-b80a3195f2e0", "today, tomorrow and elsewhere"
    assert derive_id("inc", "ab", "c") != derive_id("inc", "a", "bc")
    assert len(derive_id("alr")) == len("alr-") + 12


def spec(**labels: str) -> SeriesSpec:
    return SeriesSpec(
        entity=EntityId("cart"), metric="latency", labels=tuple(sorted(labels.items()))
    )


def test_a_series_is_its_entity_metric_and_labels() -> None:
    assert spec(code="500").describe() == 'cart latency{code="500"}'
    assert spec().describe() == "cart latency"
    other_role = SeriesSpec(entity=EntityId("cart"), metric="latency", role=Role.LATENCY)
    assert spec() == other_role
    assert hash(spec()) == hash(other_role)
    assert spec() != spec(code="500")


def test_columns_of_unequal_length_are_refused() -> None:
    short, long = np.zeros(1, np.int64), np.zeros(2, np.float64)
    with pytest.raises(ValueError, match="equal length"):
        SampleFrame(series=(spec(),), index=np.zeros(1, np.int32), timestamp=short, value=long)
    with pytest.raises(ValueError, match="equal length"):
        MetricBatch(series_id=np.zeros(1, np.int32), timestamp=short, value=long)
    assert len(MetricBatch.empty()) == len(Findings.empty()) == 0


def test_a_frame_of_one_time() -> None:
    frame = SampleFrame.at((spec(), spec(code="500")), 7, np.array([1.0, 2.0]))
    assert len(frame) == 2
    assert frame.index.tolist() == [0, 1]
    assert frame.timestamp.tolist() == [7, 7]


def test_events_as_canonical_json() -> None:
    change = Change(id=ChangeId("chg-1"), at=Millis(3), kind=ChangeKind.DEPLOY)
    recorded = Recorded(seq=1, at=Millis(5), event=ChangeSeen(change=change))
    text = recorded.to_json()
    assert text == (
        b'{"seq":1,"at":5,"event":{"type":"change_seen","change":{"id":"chg-1","at":3,'
        b'"kind":"deploy","entity":null,"summary":"","source":""}}}'
    )
    assert RECORDED.validate_json(text) == recorded


@pytest.mark.parametrize(
    ("probability", "unknown", "named"), [(0.6, 0.4, True), (0.4, 0.6, False), (0.5, 0.5, False)]
)
def test_a_ranking_abstains_where_the_unknown_is_likelier(
    probability: float, unknown: float, named: bool
) -> None:
    best = Hypothesis(entity=EntityId("db"), metric=None, probability=probability, score=1.0)
    cause = RootCause(ranked=(best,), unknown=unknown, method="test", at=Millis(0), onset=Millis(0))
    assert cause.top == (best if named else None)
    nobody = RootCause(ranked=(), unknown=1.0, method="test", at=Millis(0), onset=Millis(0))
    assert nobody.top is None


def test_golden_signals_are_what_users_feel() -> None:
    assert {role for role in Role if role.is_golden} == {
        Role.ERRORS,
        Role.LATENCY,
        Role.AVAILABILITY,
    }
