"""Real flights: through the whole pipeline, alone and in processes of their own."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from dos.app.matching import GRACE
from dos.evaluate.bench import run
from dos.evaluate.bench.card import ScoreCard
from dos.evaluate.bench.flight import BenchOptions, Flight, FlightKind, Split
from dos.evaluate.bench.fly import Control, FlightStoppedError, fly, settings_of
from dos.evaluate.bench.outcome import Contender, FlightResult, Found
from dos.evaluate.bench.run import BenchProgress, run_bench
from dos.evaluate.bench.timetable import timetable
from dos.kit.clock import SECOND
from dos.kit.errors import PermanentError
from dos.simulate.kinds import KINDS

SMALL = BenchOptions(
    worlds=("sketch",),
    seeds=1,
    split=Split.DEV,
    step=30.0,
    history=7_200.0,
    tail=600.0,
    quiet_history=21_600.0,
    quiet_length=21_600.0,
    jobs=2,
)
"""Coarse samples: quick, and worse figures than those published."""


def flight(kind: FlightKind) -> Flight:
    return next(one for one in SMALL.flights() if one.kind is kind)


@cache
def busy() -> FlightResult:
    return fly(flight(FlightKind.FAULTS), Control())


@cache
def flown() -> tuple[ScoreCard, list[BenchProgress]]:
    """Both flights, each in a process of its own."""
    seen: list[BenchProgress] = []
    return run_bench(SMALL, seen.append), seen


def test_a_flight_tells_what_was_injected_and_what_was_made_of_it() -> None:
    result, table = busy(), timetable(flight(FlightKind.FAULTS))
    planned = [one.fault for one in table.faults]
    assert sorted(one.type for one in (*result.faults, *result.harmless)) == sorted(planned)
    assert all(KINDS[one.type].harmless for one in result.harmless)
    assert result.services == 4
    assert result.seconds == pytest.approx(table.length, abs=30.0)
    for record in result.records.values():
        assert len(record.outcomes) == len(result.faults)
        assert record.incidents >= sum(isinstance(one, Found) for one in record.outcomes)
        for fault, outcome in zip(result.faults, record.outcomes, strict=True):
            if isinstance(outcome, Found) and fault.end is not None:
                assert 0 <= outcome.delay <= fault.end - fault.start + GRACE / SECOND


def test_the_pipeline_finds_faults_and_names_causes() -> None:
    record = busy().records[Contender.PIPELINE]
    found = [one for one in record.outcomes if isinstance(one, Found)]
    assert len(found) > len(record.outcomes) / 2
    assert sum(one.place == 1 for one in found) >= len(found) / 3
    assert len(record.claims) >= len(found)
    assert 0 < record.pages <= record.incidents


def test_the_baselines_read_the_same_flight() -> None:
    records = busy().records
    assert set(records) == set(Contender)
    for one in (Contender.THRESHOLDS, Contender.THREE_SIGMA):
        assert any(isinstance(outcome, Found) for outcome in records[one].outcomes)
        assert records[one].alerts >= records[one].incidents


def test_processes_come_to_the_same_result_as_this_one() -> None:
    card, _ = flown()
    assert card.complete
    assert card.flights[0] == busy()


def test_a_quiet_flight_has_no_faults() -> None:
    card, _ = flown()
    quiet = card.flights[1]
    assert quiet.faults == ()
    assert all(record.outcomes == () for record in quiet.records.values())
    assert card.service_weeks_quiet == pytest.approx(4 * 0.25 / 7)


def test_the_progress_grows_to_the_end() -> None:
    _, seen = flown()
    shares = [one.share for one in seen]
    assert shares == sorted(shares)
    assert shares[-1] > 0.95
    assert (seen[-1].flown, seen[-1].planned) == (2, 2)
    assert any(0.05 < share < 0.95 for share in shares)


def test_an_interrupt_keeps_what_is_done() -> None:
    """The quiet flight lands first, as it is made short; Ctrl-C then ends the other."""

    def look(state: BenchProgress) -> None:
        if state.flown == 1:
            raise KeyboardInterrupt

    card = run_bench(replace(SMALL, step=5.0, quiet_length=3_600.0, quiet_history=3_600.0), look)
    assert (card.flown, card.planned, card.complete) == (1, 2, False)
    assert card.flights[0].flight.kind is FlightKind.QUIET


def test_an_interrupt_before_anything_is_done_is_one() -> None:
    def look(_: BenchProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_bench(SMALL, look)


def test_a_flight_can_be_stopped() -> None:
    with pytest.raises(FlightStoppedError):
        fly(flight(FlightKind.QUIET), Control(stopped=lambda: True))


def test_a_process_that_dies_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_fly", _die)
    with pytest.raises(PermanentError, match="died"):
        run_bench(replace(SMALL, jobs=1))


def _die(_: Flight) -> None:
    """In a worker: as the kernel does it when memory runs out."""
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)


def test_the_pipeline_is_flown_as_it_comes() -> None:
    """The card is about defaults: nothing is set that decides."""
    one = flight(FlightKind.FAULTS)
    settings = settings_of(one, timetable(one))
    assert settings.detect == type(settings.detect)()
    assert settings.incidents == type(settings.incidents)()
    assert settings.rca == type(settings.rca)()
    assert settings.impact == type(settings.impact)()
