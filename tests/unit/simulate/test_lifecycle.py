"""Records of incidents: the simulator's course, the lifecycle, the numbers, and their forms."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from dos.kit.clock import SECOND, Millis, to_rfc3339
from dos.model.ids import EntityId
from dos.simulate.actions import Action, ActionKind
from dos.simulate.engine import Simulation
from dos.simulate.faults import Fault, FaultType
from dos.simulate.happenings import HappeningKind, Observer
from dos.simulate.lifecycle import MOST_ENTRIES, Lifecycle
from dos.simulate.postmortem import (
    POSTMORTEM,
    Harm,
    Phase,
    Postmortem,
    Stage,
    block,
    markdown,
)
from dos.simulate.scenario import eligible
from dos.simulate.vitals import Vitals, said
from dos.simulate.worlds import shop
from tests.unit.simulate.runs import MONDAY_NOON

CATALOG = EntityId("catalog-service")
BEGAN = Millis(MONDAY_NOON + 30 * SECOND)


class Watched:
    """A shop whose incidents are followed, with 30 s of calm behind it."""

    def __init__(self, seed: int = 2) -> None:
        self.simulation = Simulation(shop(), seed=seed, step_seconds=1.0, start=MONDAY_NOON)
        self._observer = Observer(self.simulation)
        self._lifecycle = Lifecycle(self.simulation)
        self.records: list[Postmortem] = []
        self.play(30)

    def play(self, ticks: int) -> Watched:
        for _ in range(ticks):
            frame = self.simulation.tick()
            self.records += self._lifecycle.follow(frame, self._observer.look(frame))
        return self

    def breaks(self, fault: FaultType, target: EntityId | None = None, **options: float) -> Watched:
        there = target or eligible(self.simulation.world, fault)[0]
        self.simulation.inject(Fault(type=fault, target=there, **options))
        return self

    def unfinished(self) -> list[Postmortem]:
        return self._lifecycle.unfinished()


@pytest.fixture(scope="module")
def record() -> Postmortem:
    """Errors in the catalog for a minute."""
    watched = Watched().breaks(
        FaultType.ERROR_RATE, CATALOG, severity=0.9, duration=60.0, ramp=5.0, recovery=10.0
    )
    (made,) = watched.play(100).records
    return made


def test_the_course_of_the_simulator_is_in_the_record(record: Postmortem) -> None:
    seconds = {one.stage: (one.at - BEGAN) / SECOND for one in record.stages}
    assert list(seconds) == list(Stage)  # in the order of the issue, and idle again
    assert seconds == {
        Stage.SELECT_TYPE: 0.0,
        Stage.SELECT_TARGET: 0.0,
        Stage.APPLY_EFFECTS: 0.0,
        Stage.RECOVER: 60.0,
        Stage.CLEAN_UP: 70.0,
        Stage.IDLE: 70.0,
    }
    notes = {one.stage: one.note for one in record.stages}
    assert notes[Stage.SELECT_TARGET] == CATALOG
    assert notes[Stage.APPLY_EFFECTS] == "severity 0.90, full strength after 5 s"


def test_the_lifecycle_follows_the_truth(record: Postmortem) -> None:
    assert [one.phase for one in record.phases] == list(Phase)
    after = {one.phase: one.after for one in record.phases}
    assert 0 < after[Phase.DETECTION] <= 5
    assert after[Phase.DETECTION] <= after[Phase.TRIAGE] < 60
    assert after[Phase.MITIGATION] == 60
    assert after[Phase.RESOLUTION] == after[Phase.POST_MORTEM] == 70
    assert record.seconds == 70
    assert next(one for one in record.phases if one.phase is Phase.MITIGATION).note == "by itself"


def test_the_timeline_tells_who_is_reached_and_the_alarms(record: Postmortem) -> None:
    kinds = [one.kind for one in record.timeline]
    assert kinds[0] is HappeningKind.BEGAN
    assert kinds[-1] is HappeningKind.ENDED
    reached = [one.text for one in record.timeline if one.kind is HappeningKind.REACHED]
    assert reached == [f"{one} is affected" for one in record.affected]
    assert any(one.text.startswith(f"High error rate in {CATALOG}") for one in record.timeline)
    times = [one.at for one in record.timeline]
    assert times[0] == BEGAN
    assert max(times) == record.end


def test_worst_values_are_far_from_what_was_usual(record: Postmortem) -> None:
    errors = {one.entity: one for one in record.readings if one.metric == "error_rate"}
    own = errors[CATALOG]
    assert own.before is not None
    assert own.usual is not None
    assert own.usual[0] <= own.before <= own.usual[1] < 0.05
    assert 0.3 < own.worst < 0.7
    assert BEGAN < own.at <= record.start + 70 * SECOND
    assert own.moved
    assert own.told.startswith("Errors 0% → ")
    memory = [one for one in record.readings if one.metric == "memory_usage"]
    assert {one.entity for one in memory if one.moved} == set()


def test_harm_is_what_users_would_not_have_had(record: Postmortem) -> None:
    # Half of the answers of the catalog fail, and so do pages that need it.
    assert record.harm.requests > 5_000
    assert 0.05 * record.harm.requests < record.harm.failed < 0.5 * record.harm.requests


def test_a_corrupted_metric_harms_nobody() -> None:
    target = EntityId("payment-service")
    watched = Watched().breaks(FaultType.METRIC_CORRUPTION, target, duration=30.0, recovery=0.0)
    (made,) = watched.play(40).records
    assert made.harm.failed == pytest.approx(0.0, abs=1e-6)
    assert made.harm.slow == pytest.approx(0.0, abs=1e-6)
    assert made.phases[0].phase is Phase.DETECTION
    assert made.phases[0].after == 0.0
    assert any("times what it is" in one.text for one in made.timeline)


def test_harmless_look_alikes_are_said_to_be() -> None:
    target = EntityId("catalog-service")
    watched = Watched().breaks(FaultType.HARMLESS_DEPLOY, target, duration=60.0, recovery=0.0)
    (made,) = watched.play(70).records
    assert made.harmless
    assert made.cures == ()
    assert "harmless" in block(made)[0]
    assert any(one.kind is HappeningKind.CHANGE for one in made.timeline)
    assert block(made)[-1].endswith("none taken")


def test_an_action_that_cures_is_the_mitigation() -> None:
    watched = Watched().breaks(FaultType.DEPLOY_REGRESSION, CATALOG, severity=0.95, duration=600.0)
    watched.play(60)
    watched.simulation.act(Action(kind=ActionKind.ROLLBACK, target=CATALOG))
    watched.simulation.act(Action(kind=ActionKind.RESTART, target=EntityId("notification-service")))
    (made,) = watched.play(240).records
    mitigation = next(one for one in made.phases if one.phase is Phase.MITIGATION)
    assert (mitigation.after, mitigation.note) == (60.0, f"by rollback of {CATALOG}")
    (taken,) = made.actions  # restarting somebody who is no part of it is none of its business
    assert (taken.kind, taken.cured, taken.helped) == (ActionKind.ROLLBACK, True, True)
    assert made.cures == (ActionKind.ROLLBACK,)
    assert any("helped, removed the cause" in line for line in block(made))
    shown = [one.text for one in made.timeline if one.kind is HappeningKind.ACTION]
    assert shown == [f"rollback of {CATALOG}, which removes the cause: Deploy regression"]


def test_what_was_not_done_is_named() -> None:
    watched = Watched().breaks(FaultType.CPU_SPIKE, CATALOG, duration=20.0, recovery=5.0)
    (made,) = watched.play(30).records
    assert f"none taken; restart of {CATALOG} would have removed the cause" in block(made)[-1]


def test_two_at_once_have_a_record_each() -> None:
    watched = Watched()
    watched.breaks(FaultType.ERROR_RATE, CATALOG, severity=0.9, duration=30.0, recovery=5.0)
    watched.breaks(
        FaultType.NETWORK_LATENCY, EntityId("payment-service"), severity=0.9, duration=50.0
    )
    watched.play(80)
    first, second = watched.records
    assert (first.target, second.target) == (CATALOG, "payment-service")
    # The catalog's failures are not counted against the payment service.
    assert first.harm.failed > 10 * max(1.0, second.harm.failed)
    assert first.beside == ("Network latency of payment-service",)
    assert any("beside       Network latency of payment" in line for line in block(first))
    begun = [one for one in second.timeline if one.kind is HappeningKind.BEGAN]
    assert [one.text.split()[-3] for one in begun] == ["payment-service"]


def test_zones_and_their_machines() -> None:
    watched = Watched().breaks(FaultType.ZONE_OUTAGE, severity=0.9, duration=40.0, recovery=5.0)
    (made,) = watched.play(60).records
    assert made.target == "zone-a"
    assert made.causes[0] == "zone-a"
    ready = [one for one in made.readings if one.metric == "ready"]
    assert ready
    assert {one.told for one in ready} == {"Ready yes → no"}
    assert made.readings[0].entity in made.affected  # services first, where it hurts


def test_what_still_runs_is_recorded_as_such() -> None:
    watched = Watched().breaks(FaultType.CPU_SPIKE, CATALOG, duration=500.0).play(20)
    (made,) = watched.unfinished()
    assert (made.end, made.seconds) == (None, None)
    assert "still running at the end" in block(made)[0]
    assert Stage.RECOVER not in {one.stage for one in made.stages}
    assert watched.unfinished() == []


def test_without_a_past_nothing_is_compared() -> None:
    simulation = Simulation(shop(), step_seconds=1.0, start=MONDAY_NOON)
    observer, lifecycle = Observer(simulation), Lifecycle(simulation)
    simulation.inject(Fault(type=FaultType.CPU_SPIKE, target=CATALOG, duration=5.0, recovery=1.0))
    records = []
    for _ in range(8):
        frame = simulation.tick()
        records += lifecycle.follow(frame, observer.look(frame))
    (made,) = records
    assert all(one.before is None and not one.moved for one in made.readings)
    assert "nothing out of the ordinary was measured" in "\n".join(block(made))
    assert "→" not in made.readings[0].told


def test_json_reads_back_and_times_are_rfc_3339(record: Postmortem) -> None:
    text = POSTMORTEM.dump_json(record)
    assert POSTMORTEM.validate_json(text) == record
    raw = json.loads(text)
    assert raw["start"] == to_rfc3339(BEGAN)
    assert raw["stages"][0]["stage"] == "select_type"
    assert raw["phases"][-1]["phase"] == "post_mortem"
    assert raw["readings"][0].keys() == {
        "entity", "metric", "unit", "before", "usual", "worst", "at",
    }  # fmt: skip


def test_markdown_has_every_part(record: Postmortem) -> None:
    text = markdown(record)
    assert text.startswith("## 2026-11-23 12:00:30 Error rate increase of catalog-service\n")
    for words in (
        "- Root cause: catalog-service",
        "| detection | 12:00:3",
        "| post-mortem | 12:01:40 | 1m10s |",
        "| select type | 12:00:30 | Error rate increase |",
        "| catalog-service | ",
        "- 12:00:30 Error rate increase detected in catalog-service (Duration: 60s)",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (Harm(requests=1000.0, failed=12.4, slow=0.2), "of 1,000 requests 12 failed because of it"),
        (
            Harm(requests=1000.0, failed=12.0, slow=1.0),
            "of 1,000 requests 12 failed and 1 was slow because of it",
        ),
        (Harm(requests=10.0, failed=-3.0, slow=0.0), "none of 10 requests was hurt by it"),
    ],
)
def test_harm_in_words(record: Postmortem, harm: Harm, words: str) -> None:
    assert any(words in line for line in block(replace(record, harm=harm)))


def test_the_timeline_is_bounded() -> None:
    watched = Watched().breaks(FaultType.CPU_SPIKE, CATALOG, duration=4000.0)
    for number in range(MOST_ENTRIES + 50):
        watched.simulation.act(
            Action(kind=ActionKind.SCALE, target=CATALOG, replicas=2 + number % 2)
        )
    (made,) = watched.play(1).unfinished()
    assert len(made.timeline) <= MOST_ENTRIES


def test_values_in_words() -> None:
    assert said("latency_p95", 0.2, "seconds") == "200ms"
    assert said("clock_offset", 213.4, "seconds") == "213s"
    assert said("network_receive", 2_500_000.0, "bytes/s") == "2.5MB/s"
    assert said("request_rate", 1234.4, "1/s") == "1,234/s"
    assert said("queue_depth", 3.0, "") == "3"
    assert said("ready", 0.0, "") == "no"
    simulation = Simulation(shop(), step_seconds=1.0, start=MONDAY_NOON)
    vitals, frame = Vitals(simulation.series), simulation.tick()
    assert vitals.line(frame, EntityId("nobody")) == ""
    assert vitals.value(frame, CATALOG, "hit_ratio") is None
    assert vitals.line(frame, CATALOG, ("request_rate", "cpu_usage")).count("CPU=") == 1
