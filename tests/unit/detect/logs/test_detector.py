"""Stories of a service's log: what is found, when, in which words, and what is not."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from dos.detect.logs.config import LogsConfig
from dos.detect.logs.detector import LogDetector, LogStep, deviation_of
from dos.kit.clock import DAY, HOUR, SECOND, Millis
from dos.kit.errors import CorruptDataError
from dos.model.ids import EntityId
from dos.model.logs import LogBatch, LogFinding, LogLine, LogSignal
from tests.unit.detect.logs.drawn import CART, at, by_second, line, usual

LEARNED = 1200.0
"""Seconds of healthy lines before each story."""


def play(detector: LogDetector, lines: Iterable[LogLine], until: float = 0.0) -> list[LogFinding]:
    steps: list[LogStep] = [detector.step(batch, now) for now, batch in by_second(lines)]
    if until:
        steps.append(detector.step(None, at(until)))
    return [finding for step in steps for finding in step.findings]


@pytest.fixture(scope="module")
def learned() -> bytes:
    """The state after a healthy time in which nothing was found."""
    detector = LogDetector()
    assert play(detector, usual(0, LEARNED)) == []
    return detector.dump()


@pytest.fixture
def detector(learned: bytes) -> LogDetector:
    fresh = LogDetector()
    fresh.load(learned)
    return fresh


def story(*extra: LogLine, seconds: float = 60.0) -> list[LogLine]:
    """Extra lines, in a service that otherwise goes on as before."""
    return sorted([*usual(LEARNED, LEARNED + seconds), *extra], key=lambda one: one.timestamp)


def several(body: str, count: int, first: float, *, severity: int = 17) -> list[LogLine]:
    return [line(body, LEARNED + first + 0.1 * k, severity=severity) for k in range(count)]


def test_a_healthy_hour_is_silent(detector: LogDetector) -> None:
    assert play(detector, usual(LEARNED, LEARNED + 3600, seed=2)) == []


def test_a_new_error_is_found_at_once_and_is_over_later(detector: LogDetector) -> None:
    found = play(detector, story(*several("disk full: cannot write", 6, 5.0)), LEARNED + 60)
    first, last = found[0], found[-1]
    assert (first.signal, first.entity, first.started) == (LogSignal.NEW, CART, True)
    assert first.timestamp <= at(LEARNED + 7)
    assert first.score > 0.5
    assert first.rarity < 1e-5
    assert first.detail.endswith("never before: disk full: cannot write")
    assert (last.signal, last.started, last.detail) == (LogSignal.NEW, False, "")
    assert last.timestamp <= at(LEARNED + 50)


def test_one_new_line_alone_is_no_anomaly(detector: LogDetector) -> None:
    assert play(detector, story(line("disk is getting full", LEARNED + 5)), LEARNED + 60) == []


def test_a_burst_of_a_known_warning(detector: LogDetector) -> None:
    burst = several("retrying call to stock-db, attempt 200", 60, 5.0, severity=13)
    found = [one for one in play(detector, story(*burst)) if one.started]
    assert {one.signal for one in found} == {LogSignal.BURST}
    assert found[0].timestamp <= at(LEARNED + 8)
    assert "usually 0." in found[0].detail
    assert "retrying call to stock-db, attempt <*>" in found[0].detail
    assert found[-1].score > found[0].score, "it is told again as it becomes clearly stronger"


def test_more_traffic_is_no_burst(detector: LogDetector) -> None:
    """Four times the requests bring four times the retries with them."""
    more = [one for seed in (5, 6, 7, 8) for one in usual(LEARNED, LEARNED + 120, seed=seed)]
    found = play(detector, sorted(more, key=lambda one: one.timestamp))
    assert [one for one in found if one.signal is LogSignal.BURST] == []


def test_a_code_that_was_never_seen(detector: LogDetector) -> None:
    odd = several("GET /cart/u17 503 in 20 ms", 5, 5.0, severity=9)
    (found,) = [one for one in play(detector, story(*odd)) if one.started]
    assert found.signal is LogSignal.PARAMETER
    assert "503" in found.detail
    assert "an unusual value, 503: GET <*> <*> in <*>" in found.detail


def test_numbers_far_from_the_usual(detector: LogDetector) -> None:
    odd = several("GET /cart/u17 200 in 90000 ms", 5, 5.0, severity=9)
    (found,) = [one for one in play(detector, story(*odd)) if one.started]
    assert found.signal is LogSignal.PARAMETER
    assert "90000" in found.detail


def test_ids_are_never_strange(detector: LogDetector) -> None:
    ids = [line(f"session of u{9**k} refreshed", LEARNED + k, severity=9) for k in range(1, 18)]
    assert play(detector, story(*ids)) == []


def test_an_incident_does_not_become_normal_at_once(detector: LogDetector) -> None:
    warning = "retrying call to stock-db, attempt 200"
    found = play(detector, story(*several(warning, 3000, 5.0, severity=13), seconds=330))
    bursts = [one for one in found if one.signal is LogSignal.BURST]
    assert all(one.started for one in bursts), "it is not over while it lasts"
    again = play(detector, several(warning, 60, 700.0, severity=13))
    assert any(one.started and one.signal is LogSignal.BURST for one in again)


def test_what_lasts_is_taken_for_normal() -> None:
    detector = LogDetector(LogsConfig(every=1.0, warm_up=60.0))
    play(detector, usual(0, 300))
    lasting = [line("cache miss in shard", 300 + k / 4, severity=13) for k in range(2400)]
    changed = [*usual(300, 900), *lasting]
    found = play(detector, sorted(changed, key=lambda one: one.timestamp), 910.0)
    news = [one for one in found if one.signal is not LogSignal.PARAMETER]
    assert news
    assert not news[-1].started
    assert news[-1].timestamp < at(600)


def test_the_past_is_learned_from_and_nothing_is_found_in_it() -> None:
    lines = by_second([*usual(0, 400), *several("boom", 50, 400 - LEARNED), *usual(401, 700)])
    steps = [
        (detector := LogDetector()).step(batch, at(700), history=True) for _, batch in lines[:1]
    ]
    steps += [detector.step(batch, at(700), history=True) for _, batch in lines[1:]]
    assert [finding for step in steps for finding in step.findings] == []
    assert {one.text for one in detector.templates()} >= {"boom"}
    ends = [scores.at for step in steps for scores in step.scores]
    assert ends == [at(10 * k) for k in range(1, len(ends) + 1)]


def test_lines_that_stand_for_many(learned: bytes) -> None:
    """A sampled line of weight 50 is one observation of fifty lines, not fifty observations."""
    detector = LogDetector()
    detector.load(learned)
    heavy = line("retrying call to stock-db, attempt 200", LEARNED + 5, severity=13, weight=50.0)
    assert play(detector, story(heavy)) == []


def test_restored_in_the_middle_it_finds_the_same(learned: bytes) -> None:
    lines = story(*several("disk full: cannot write", 6, 5.0), *several("boom", 9, 25.0))
    whole, parts = LogDetector(), LogDetector()
    whole.load(learned)
    parts.load(learned)
    expected = play(whole, lines)
    found: list[LogFinding] = []
    for now, batch in by_second(lines):
        restored = LogDetector()
        restored.load(parts.dump())
        parts = restored
        found += parts.step(batch, now).findings
    assert found == expected
    assert expected
    assert parts.dump() == whole.dump()


def test_clocks_that_jump(detector: LogDetector) -> None:
    for now in (at(LEARNED), Millis(0), Millis(at(LEARNED) + 3650 * DAY), at(LEARNED + 5)):
        for stamp in (Millis(0), at(0), Millis(2**62), Millis(-5)):
            one = LogLine(entity=CART, timestamp=stamp, body=b"up 1")
            step = detector.step(LogBatch.of([one]), now)
            assert all(0 <= f.score <= 1 and 0 <= f.rarity <= 1 for f in step.findings)
            assert len(step.scores) <= 61


def test_an_entity_that_comes_late_is_learned_first(detector: LogDetector) -> None:
    new = EntityId("orders")
    first = [
        LogLine(entity=new, timestamp=at(LEARNED + k / 10), body=b"error %d of it" % k, severity=17)
        for k in range(100)
    ]
    assert play(detector, first, LEARNED + 30) == []


def test_scores_are_told_for_each_stretch(detector: LogDetector) -> None:
    step = detector.step(None, at(LEARNED + 30))
    assert [scores.at for scores in step.scores] == [at(LEARNED + k) for k in (0, 10, 20, 30)][1:]
    assert all(scores.entities == (CART,) for scores in step.scores)
    assert all(scores.score.shape == (1, len(LogSignal)) for scores in step.scores)


@pytest.mark.parametrize("data", [b"", b"DOSLOGS1", b"DOSLOGS1" + b"\xff" * 64, b"nonsense"])
def test_a_damaged_state_is_refused(data: bytes) -> None:
    with pytest.raises(CorruptDataError, match="state of log analysis"):
        LogDetector().load(data)


def test_a_state_cut_short_is_refused(learned: bytes) -> None:
    with pytest.raises(CorruptDataError):
        LogDetector().load(learned[:-7])


@pytest.mark.parametrize(
    ("rarity", "sigmas"), [(0.0227501, 2.0), (1.349898e-3, 3.0), (9.8659e-10, 6.0), (1.0, 0.0)]
)
def test_rarity_as_sigmas(rarity: float, sigmas: float) -> None:
    import math

    assert deviation_of(math.log(rarity)) == pytest.approx(sigmas, abs=0.1)


def test_the_cost_of_a_gap_is_bounded(detector: LogDetector) -> None:
    step = detector.step(None, Millis(at(LEARNED) + 1000 * HOUR))
    assert len(step.scores) <= 60
    assert detector.step(None, Millis(at(LEARNED) + 1000 * HOUR + 10 * SECOND)).scores
