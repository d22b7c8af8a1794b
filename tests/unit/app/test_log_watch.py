"""Log lines through the whole pipeline: series, samples, anomalies in words, checkpoints."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from dos.app import state
from dos.app.pipeline import Pipeline
from dos.bus.base import Entry
from dos.ingest.base import Delivery
from dos.kit.clock import SECOND, Millis
from dos.model.anomaly import Anomaly
from dos.model.events import AnomalyEnded, AnomalyStarted, Decisions
from dos.model.ids import EntityId
from dos.model.logs import LogBatch, LogLine, LogSignal
from dos.model.rootcause import EvidenceKind
from tests.unit.app import played

CART = EntityId("cart")
LEARNED = 600
BURST = range(LEARNED + 20, LEARNED + 30)


@lru_cache(maxsize=1)
def intakes() -> tuple[Entry, ...]:
    """A service that writes the same all the time, but for ten seconds."""
    delivered = []
    for second in range(LEARNED + 90):
        at = Millis(played.START + second * SECOND)
        texts = [f"handled request {second} in {20 + second % 7} ms"] * 3
        texts += ["disk full: write failed"] * (4 if second in BURST else 0)
        batch = LogBatch.of(
            LogLine(entity=CART, timestamp=at, body=text.encode(), severity=9) for text in texts
        )
        delivered.append((Millis(at + SECOND), Delivery(logs=batch)))
    return played.normalised(delivered)


def anomalies(decisions: list[Decisions]) -> tuple[list[Anomaly], list[Anomaly]]:
    events = [one.event for step in decisions for one in step.events]
    return (
        [one.anomaly for one in events if isinstance(one, AnomalyStarted)],
        [one.anomaly for one in events if isinstance(one, AnomalyEnded)],
    )


def test_an_anomaly_says_what_was_written() -> None:
    pipeline = played.pipeline()
    started, ended = anomalies(played.run(pipeline, intakes()))
    (one,) = started
    assert (one.entity, one.metric, one.detector) == (CART, "log_new_templates", "logs")
    assert one.started_at == played.START + BURST.start * SECOND
    assert one.decided_at <= one.started_at + 5 * SECOND
    assert one.detail.endswith("never before: disk full: write failed")
    assert one.score > 0.5
    assert one.rarity is not None
    assert one.rarity < 1e-4
    (over,) = ended
    assert (over.id, over.detail) == (one.id, one.detail)


def test_the_scores_are_samples_of_series() -> None:
    pipeline = played.pipeline()
    played.run(pipeline, intakes())
    registry = pipeline.parts.registry
    ids = {signal: registry.find(signal.spec(CART)) for signal in LogSignal}
    assert None not in ids.values()
    assert list(registry.of_entity(CART)) == list(ids.values())
    new = ids[LogSignal.NEW]
    assert new is not None
    window = pipeline.parts.history.window([new], played.START, pipeline.now)
    scores = sorted(window.values[np.isfinite(window.values)].tolist())
    assert len(scores) == (LEARNED + 90) // 10
    assert scores[-2] < 0.5 < scores[-1]


def test_a_restart_in_the_middle_changes_no_byte() -> None:
    entries = intakes()
    whole = played.pipeline()
    expected = played.lines(played.run(whole, entries))
    cut = BURST.start + 2
    before = played.pipeline()
    first = played.run(before, entries[:cut])
    after = played.pipeline()
    state.load(after, state.dump(before))
    second = played.run(after, entries[cut:])
    assert played.lines([*first, *second]) == expected
    assert after.parts.logs.detector.dump() == whole.parts.logs.detector.dump()


def test_a_checkpoint_from_before_there_were_logs() -> None:
    old = played.pipeline()
    sections = state._unpack(state.dump(old))
    del sections["logs"]
    fresh = played.pipeline()
    state.load(fresh, state._pack(sections))
    assert not fresh.parts.logs.is_watching


def test_quiet_blocks_with_lines_are_taken_one_by_one() -> None:
    pipeline = played.pipeline()
    entries = intakes()[:40]
    played.run(pipeline, entries[:20])
    heartbeats = [replace(one.intake, logs=None) for one in entries[20:]]
    assert not pipeline.skim(heartbeats, entries[-1].offset)


def said(pipeline: Pipeline) -> set[str]:
    """What the evidence of open incidents quotes from logs."""
    return {
        evidence.text
        for incident in pipeline.parts.correlator.open
        for hypothesis in (incident.root_cause.ranked if incident.root_cause else ())
        for evidence in hypothesis.evidence
        if evidence.kind is EvidenceKind.LOG
    }


def test_incidents_quote_the_lines_of_their_suspects() -> None:
    pipeline = played.pipeline()
    quoted: set[str] = set()
    for entry in played.normalised(played.deliveries(280.0, logs=60)):
        pipeline.step(entry.intake, entry.offset)
        quoted |= said(pipeline)
    assert any("catalog-db" in text or "failed" in text for text in quoted), quoted
