"""Which incident is about which fault."""

from __future__ import annotations

from dataclasses import dataclass

from dos.app.matching import GRACE, match
from dos.kit.clock import SECOND, Millis
from dos.model.ids import EntityId
from dos.simulate.engine import Truth
from dos.simulate.faults import FaultType


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    id: str
    opened_at: Millis
    entities: tuple[EntityId, ...]


def fault(name: str, start: int, end: int | None, target: str, *affected: str) -> Truth:
    """Times in seconds."""
    return Truth(
        id=name,
        fault=FaultType.CPU_SPIKE,
        target=EntityId(target),
        severity=0.8,
        start=Millis(start * SECOND),
        end=None if end is None else Millis(end * SECOND),
        affected=tuple(EntityId(one) for one in (target, *affected)),
    )


def seen(name: str, at: float, *entities: str) -> Seen:
    ids = tuple(EntityId(one) for one in entities)
    return Seen(id=name, opened_at=Millis(round(at * SECOND)), entities=ids)


def about(truths: list[Truth], incidents: list[Seen]) -> dict[str, list[str]]:
    return {key: [one.id for one in found] for key, found in match(truths, incidents).items()}


def test_the_window_is_the_fault_and_its_aftermath() -> None:
    truths = [fault("f", 100, 200, "db")]
    late = 200 + GRACE / SECOND
    incidents = [
        seen("early", 99.9, "db"),
        seen("at-once", 100, "db"),
        seen("last", late, "db"),
        seen("too-late", late + 0.001, "db"),
    ]
    assert about(truths, incidents) == {"f": ["at-once", "last"]}


def test_a_fault_without_end_stays_in_time() -> None:
    assert about([fault("f", 0, None, "db")], [seen("i", 9999, "db")]) == {"f": ["i"]}


def test_an_incident_elsewhere_is_about_nothing() -> None:
    truths = [fault("f", 0, 100, "db", "web")]
    assert about(truths, [seen("i", 10, "cache")]) == {"f": []}
    assert about(truths, [seen("i", 10, "cache", "web")]) == {"f": ["i"]}


def test_of_two_faults_it_is_about_the_one_whose_cause_it_holds() -> None:
    truths = [fault("old", 0, 100, "db", "web"), fault("new", 5, 100, "cache", "web")]
    assert about(truths, [seen("i", 10, "db", "web")]) == {"old": ["i"], "new": []}


def test_of_two_faults_it_is_about_the_one_not_found_yet() -> None:
    truths = [fault("old", 0, 100, "db", "web"), fault("new", 5, 100, "cache", "web")]
    incidents = [seen("first", 6, "web"), seen("second", 7, "web")]
    assert about(truths, incidents) == {"new": ["first"], "old": ["second"]}
    # But what holds the cause of a known fault does not find another one.
    incidents = [seen("first", 6, "db", "web"), seen("second", 7, "db", "web")]
    assert about(truths, incidents) == {"old": ["first", "second"], "new": []}


def test_one_incident_is_about_one_fault_only() -> None:
    truths = [fault("a", 0, 100, "db"), fault("b", 0, 100, "db")]
    found = about(truths, [seen("i", 10, "db")])
    assert sorted(found.values()) == [[], ["i"]]
