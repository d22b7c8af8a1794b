"""Who began to write what it never wrote before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dos.kit.clock import SECOND
from dos.kit.plugins import load
from dos.model.logs import LogSignal
from dos.model.rootcause import EvidenceKind
from dos.rca.base import ROOM
from dos.rca.case import Case
from dos.testing.rankers import BEFORE, STEP, concluded, ranked, story

NEW = LogSignal.NEW.value


def written(case: Case, entity: str, value: float, *, at: int, lasts: int = 3) -> Case:
    """The same with lines of `entity` as unusual as that for some samples."""
    values = case.values.copy()
    column = next(i for i, s in enumerate(case.series) if (s.entity, s.metric) == (entity, NEW))
    values[at : at + lasts, column] = value
    return replace(case, values=values)


def test_the_first_to_write_is_blamed_and_later_ones_less() -> None:
    case = written(written(story(), "payment", 0.9, at=BEFORE), "orders", 0.95, at=BEFORE + 8)
    assert ranked("logs", case) == ["payment", "orders"]
    plugin = load(ROOM, "logs")
    scores = plugin.build(plugin.config(fade=120.0)).score(case)
    by_entity = dict(zip(scores.entities, scores.score.tolist(), strict=True))
    late = 8 * STEP / SECOND
    assert by_entity["payment"] == pytest.approx(0.8)
    assert by_entity["orders"] == pytest.approx(0.9 * np.exp(-late / 120.0))


def test_below_the_limit_nothing_is_said() -> None:
    assert concluded("logs", written(story(), "payment", 0.49, at=BEFORE)).unknown == 1.0


def test_what_it_always_wrote_is_not_new() -> None:
    case = written(story(), "payment", 0.9, at=BEFORE)
    used_to = written(case, "payment", 0.9, at=20)
    assert ranked("logs", used_to) == []


def test_evidence_says_since_when_and_what() -> None:
    (found,) = concluded("logs", written(story(), "payment", 0.9, at=BEFORE + 1)).ranked
    said = found.evidence[0]
    assert said.kind is EvidenceKind.LOG
    assert said.text.startswith("since 00:30:15 it writes lines that it never wrote before (score")
    assert said.metric == NEW


def test_without_log_lines_it_does_not_know() -> None:
    case = story(("payment", "cpu", 9.0, 0), metrics=["cpu", "latency_p95"])
    assert concluded("logs", case).unknown == 1.0
