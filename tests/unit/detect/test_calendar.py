"""Holidays and planned work: which moment belongs to which calendar."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from dos.compute.local import LocalHost
from dos.detect.calendar import CalendarConfig, Calendars, DaysOff
from dos.detect.engine import DetectConfig, DetectKernel
from dos.kit.clock import DAY, HOUR, Millis, from_rfc3339
from dos.model.entity import Entity
from dos.model.ids import EntityId
from dos.model.telemetry import MetricBatch, Role, SeriesSpec
from tests.unit.detect.watch import TRAFFIC, interned

ICS = """BEGIN:VCALENDAR
VERSION:2.0
BEGIN:VEVENT
DTSTART;VALUE=DATE:20261225
SUMMARY:Christmas\\, first day
RRULE:FREQ=YEARLY
BEGIN:VALARM
DTSTART:20200101T000000Z
END:VALARM
END:VEVENT
BEGIN:VEVENT
DTSTART;TZID=America/New_York:20261103T220000
DURATION:PT2H
RRULE:FREQ=WEEKLY;BYDAY=TU,TH;UNTIL=20261231T000000Z
EXDATE;TZID=America/New_York:20261112T220000
SUMMARY:Patch
 ing
END:VEVENT
BEGIN:VEVENT
DTSTART:20260101T000000Z
DTEND:20260102T000000Z
STATUS:CANCELLED
END:VEVENT
END:VCALENDAR
"""


def calendar(**keys: object) -> CalendarConfig:
    return CalendarConfig.model_validate({"name": "one", "kind": "holiday", **keys})


def holds(config: CalendarConfig, at: str) -> bool:
    return bool(Calendars([config]).active(from_rfc3339(at)))


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-12-24T22:59:59Z", False),
        ("2026-12-24T23:00:00Z", True),  # midnight in Berlin
        ("2026-12-25T22:59:59Z", True),
        ("2026-12-25T23:00:00Z", False),
        ("2031-12-25T12:00:00Z", True),
    ],
)
def test_a_day_lasts_from_midnight_to_midnight_where_it_is(at: str, expected: bool) -> None:
    assert holds(calendar(days=["12-25"], timezone="Europe/Berlin"), at) is expected


def test_a_day_with_a_year_does_not_come_again() -> None:
    once = calendar(days=["2026-10-03"])
    assert holds(once, "2026-10-03T12:00:00Z")
    assert not holds(once, "2027-10-03T12:00:00Z")


def test_the_leap_day_comes_in_leap_years() -> None:
    leap = calendar(days=["02-29"])
    assert holds(leap, "2028-02-29T12:00:00Z")
    assert not holds(leap, "2027-03-01T12:00:00Z")


def test_a_window_over_the_turn_of_the_year_holds_on_both_sides() -> None:
    window = {"start": "2020-12-31T18:00", "end": "2021-01-01T06:00", "repeat": "yearly"}
    turn = calendar(windows=[window])
    assert holds(turn, "2026-12-31T20:00:00Z")
    assert holds(turn, "2027-01-01T05:00:00Z")
    assert not holds(turn, "2027-01-01T07:00:00Z")


def test_a_weekly_window_keeps_its_wall_clock_time_when_clocks_change() -> None:
    window = {
        "start": "2026-10-19T02:00",
        "end": "2026-10-19T03:00",
        "repeat": "weekly",
        "without": ["2026-11-02T02:00"],
    }
    work = calendar(kind="maintenance", windows=[window], timezone="Europe/Berlin")
    assert holds(work, "2026-10-19T00:30:00Z")  # summer time
    assert holds(work, "2026-10-26T01:30:00Z")  # winter time
    assert not holds(work, "2026-10-26T00:30:00Z")
    assert not holds(work, "2026-11-02T01:30:00Z")
    assert not holds(work, "2026-10-12T00:30:00Z")


def test_an_ical_file_is_read_with_its_rules(tmp_path: Path) -> None:
    path = tmp_path / "team.ics"
    path.write_text(ICS.replace("\n", "\r\n"))
    read = calendar(file=str(path))
    assert read.file is None
    assert [one.title for one in read.windows][:2] == ["Christmas, first day", "Patching"]
    assert holds(read, "2030-12-25T10:00:00Z")
    assert holds(read, "2026-11-06T03:30:00Z")  # Thursday evening in New York
    assert not holds(read, "2026-11-13T03:30:00Z")  # left out
    assert not holds(read, "2027-01-06T03:30:00Z")  # after its end
    assert not holds(read, "2026-01-01T12:00:00Z")  # cancelled
    # What was read is part of the configuration: the file is not needed any more.
    path.unlink()
    assert CalendarConfig.model_validate(read.model_dump(mode="json")) == read


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("RRULE:FREQ=MONTHLY", "the rule 'FREQ=MONTHLY' is not read"),
        ("RRULE:FREQ=WEEKLY;BYDAY=1MO", "is not read"),
        ("DTSTART:yesterday", "'yesterday' is not a time"),
        ("DTEND:20260101T000000Z", "ends before its beginning"),
        ("DTSTART;TZID=Mars/Base:20260101T000000", "'Mars/Base' is not a known time zone"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(tmp_path: Path, line: str, message: str) -> None:
    start = "" if line.startswith("DTSTART") else "DTSTART:20260203T000000Z\nDURATION:PT1H\n"
    event = f"BEGIN:VEVENT\nSUMMARY:Odd\n{start}{line}\nEND:VEVENT\n"
    path = tmp_path / "odd.ics"
    path.write_text(f"BEGIN:VCALENDAR\n{event}END:VCALENDAR\n")
    with pytest.raises(ValidationError, match=message) as caught:
        calendar(file=str(path))
    assert "event 'Odd'" in str(caught.value)


def test_a_yaml_file_may_be_a_list_of_days(tmp_path: Path) -> None:
    path = tmp_path / "days.yaml"
    path.write_text("- 2026-11-26\n- 12-25\n")
    assert calendar(file=path, days=["07-04"]).days == ("07-04", "2026-11-26", "12-25")


@pytest.mark.parametrize(
    "keys",
    [
        {"days": ["2026-13-01"]},
        {"days": ["tomorrow"]},
        {"days": ["12-25"], "timezone": "Nowhere"},
        {"windows": [{"start": "2026-01-02", "end": "2026-01-01"}]},
        {"windows": [{"start": "2026-01-01T00:00+01:00", "end": "2026-01-02"}]},
        {"file": "/nonexistent/days.ics"},
        {},
    ],
)
def test_a_mistake_is_refused(keys: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        calendar(**keys)


def test_a_calendar_is_for_the_entities_and_labels_it_names() -> None:
    calendars = Calendars(
        [
            calendar(days=["2026-12-25"], entities=["eu/*"]),
            calendar(days=["2026-12-26"], labels={"region": "eu-*"}),
        ]
    )

    def spec(entity: str, **labels: str) -> SeriesSpec:
        return SeriesSpec(
            entity=EntityId(entity),
            metric="requests",
            labels=tuple(labels.items()),
            role=Role.TRAFFIC,
        )

    plain, named = calendars.group_of(spec("us/cart")), calendars.group_of(spec("eu/cart"))
    labelled = calendars.group_of(spec("cart", region="eu-west"))
    both = calendars.group_of(spec("eu/cart", region="eu-west"))
    assert plain == 0
    first = from_rfc3339("2026-12-25T00:00:00Z") // HOUR
    off = calendars.hours_off(first, 48).sum(axis=1).tolist()
    assert [off[group] for group in (plain, named, labelled, both)] == [0, 24, 24, 48]


def test_planned_work_is_asked_by_entity_and_time() -> None:
    work = calendar(
        kind="maintenance",
        windows=[{"start": "2026-11-28T22:00", "end": "2026-11-28T23:00"}],
        labels={"zone": "b"},
    )
    calendars = Calendars([work])
    inside = Entity(id=EntityId("db"), attributes=(("zone", "b"),))
    other = Entity(id=EntityId("db2"), attributes=(("zone", "a"),))
    during = from_rfc3339("2026-11-28T22:30:00Z")
    assert calendars.in_maintenance(inside, during)
    assert not calendars.in_maintenance(other, during)
    assert not calendars.in_maintenance(inside, Millis(during + HOUR))


# --------------------------------------------------------------------- holidays and the daily shape


def busy(hour: float, day_off: bool) -> float:
    """Traffic: the same at night, and by day four times as much on working days."""
    by_day = max(0.0, math.sin(math.pi * (hour - 6) / 14)) if 6 <= hour <= 20 else 0.0
    return 50.0 + by_day * (25.0 if day_off else 250.0)


def error_on_the_holiday(calendars: Calendars) -> float:
    """Five weeks are learned; how far off is what is expected on a Wednesday without work?

    What is expected is the everyday detector's word, so that nobody else need look closely.
    """
    host = LocalHost(DetectKernel(DetectConfig(closely=()), calendars))
    host.register(interned((TRAFFIC,)))
    rng = np.random.default_rng(2)
    step = 5 * 60_000
    monday = from_rfc3339("2026-11-23T00:00:00Z") - 5 * 7 * DAY
    errors = []
    for tick in range(round((5 * 7 + 3) * DAY / step)):
        at = monday + tick * step
        day = (at - monday) // DAY
        holiday = day == 5 * 7 + 2
        value = busy((at % DAY) / HOUR, day % 7 >= 5 or holiday) * (
            1 + 0.02 * rng.standard_normal()
        )
        batch = MetricBatch(
            series_id=np.zeros(1, np.int32),
            timestamp=np.array([at], np.int64),
            value=np.array([value]),
        )
        host.step(batch)
        if holiday:
            (state,) = host.states
            errors.append(abs(float(state.engine["expected"][0]) - value))
    return float(np.mean(errors))


def test_a_holiday_has_the_shape_of_a_weekend() -> None:
    told = error_on_the_holiday(Calendars([calendar(days=["2026-11-25"])]))
    untold = error_on_the_holiday(Calendars())
    elsewhere = error_on_the_holiday(Calendars([calendar(days=["2026-11-25"], entities=["x"])]))
    assert told < 0.5 * untold
    assert elsewhere == untold


def test_only_series_of_the_calendar_have_its_holidays_and_the_table_grows_where_needed() -> None:
    days_off = DaysOff(Calendars([calendar(days=["12-25"], entities=["eu/*"])]))
    here, there = (
        SeriesSpec(entity=EntityId(name), metric="m", role=Role.TRAFFIC) for name in ("eu/a", "b")
    )
    assert days_off.group_of(there) == 0
    group = days_off.group_of(here)
    for year in (2026, 2031, 2027):
        noon = from_rfc3339(f"{year}-12-25T12:00:00Z")
        days_off.cover(noon, Millis(noon + HOUR))
        hour = noon // HOUR
        assert days_off.table[group, hour] == 1
        assert days_off.table[0, hour] == 0
        assert days_off.table[group, hour + 24] == 0
    far = Millis(10**15)
    days_off.cover(far, far)
    assert days_off.table.shape[1] <= far // HOUR
    days_off.cover(Millis(-(10**15)), Millis(0))
