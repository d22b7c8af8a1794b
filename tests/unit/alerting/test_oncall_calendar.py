"""Calendars that say who is on call: what is read, what is refused, and what is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from icalendar import Calendar
from pydantic import ValidationError

from dos.alerting.ical import written
from dos.alerting.oncall import Schedule
from dos.alerting.oncall_config import ScheduleConfig
from dos.kit.clock import DAY, HOUR, MINUTE, Millis, from_rfc3339
from dos.kit.errors import ConfigError

PEOPLE = ("anna", "ben", "Carl")
WEEKLY = """\
UID:1
SUMMARY:anna
DTSTART;TZID=Europe/Berlin:20261005T090000
DTEND;TZID=Europe/Berlin:20261012T090000
RRULE:FREQ=WEEKLY;INTERVAL=2
"""
OTHER = WEEKLY.replace("UID:1", "UID:2").replace("anna", "ben").replace("1005", "1012", 1)
OTHER = OTHER.replace("DTEND;TZID=Europe/Berlin:20261012", "DTEND;TZID=Europe/Berlin:20261019")
BERLIN = "DTSTART;TZID=Europe/Berlin"


def calendar(*events: str, head: str = "") -> str:
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:test", *head.split()]
    for event in events:
        lines += ["BEGIN:VEVENT", *event.strip().splitlines(), "END:VEVENT"]
    return "\r\n".join([*lines, "END:VCALENDAR", ""])


def schedule(*texts: str, zone: str = "Europe/Berlin", **keys: Any) -> Schedule:
    config = {
        "name": "primary",
        "time_zone": zone,
        "calendars": [{"text": one, **keys} for one in texts],
    }
    return Schedule(ScheduleConfig.model_validate(config), PEOPLE)


def on(made: Schedule, text: str) -> tuple[str, ...]:
    return made.on_call(from_rfc3339(text))


def test_events_repeat_on_the_wall_clock() -> None:
    made = schedule(calendar(WEEKLY, OTHER))
    assert on(made, "2026-10-05T06:59Z") == ()
    assert on(made, "2026-10-05T07:00Z") == ("anna",)
    assert on(made, "2026-10-12T07:00Z") == ("ben",)
    assert on(made, "2026-11-02T07:59Z") == ("ben",), "09:00 is an hour later in winter"
    assert on(made, "2026-11-02T08:00Z") == ("anna",)
    assert on(made, "2026-11-09T07:59Z") == ("anna",)
    assert on(made, "2026-11-09T08:00Z") == ("ben",)
    (shift,) = made.current(from_rfc3339("2027-01-01"))
    assert shift.end - shift.start == 7 * DAY


def test_exceptions_of_a_series() -> None:
    left_out = f"{WEEKLY}EXDATE;TZID=Europe/Berlin:20261019T090000\n"
    swapped = """\
UID:1
SUMMARY:ben
RECURRENCE-ID;TZID=Europe/Berlin:20261102T090000
DTSTART;TZID=Europe/Berlin:20261103T090000
DTEND;TZID=Europe/Berlin:20261109T090000
"""
    cancelled = swapped.replace("1102", "1116").replace("1103", "1116").replace("1109", "1123")
    made = schedule(calendar(left_out, swapped, f"{cancelled}STATUS:CANCELLED\n"))
    assert on(made, "2026-10-06") == ("anna",)
    assert on(made, "2026-10-20") == ()
    assert on(made, "2026-11-02T12:00") == ()
    assert on(made, "2026-11-03T12:00") == ("ben",)
    assert on(made, "2026-11-17T12:00") == ()
    assert on(made, "2026-12-01T12:00") == ("anna",)


def test_whole_days_and_times_without_a_zone_are_the_schedules() -> None:
    day = "UID:1\nSUMMARY:anna\nDTSTART;VALUE=DATE:20260601\nDTEND;VALUE=DATE:20260603\n"
    floating = "UID:2\nSUMMARY:ben\nDTSTART:20260603T090000\nDURATION:PT2H\n"
    made = schedule(calendar(day, floating), zone="America/New_York")
    assert on(made, "2026-06-01T03:59Z") == ()
    assert on(made, "2026-06-01T04:00Z") == ("anna",)
    assert on(made, "2026-06-03T03:59Z") == ("anna",)
    assert on(made, "2026-06-03T04:00Z") == ()
    assert on(made, "2026-06-03T13:00Z") == ("ben",)
    assert on(made, "2026-06-03T15:00Z") == ()


def test_whom_events_name() -> None:
    times = "DTSTART:20260601T000000Z\nDTEND:20260602T000000Z\n"
    made = schedule(
        calendar(
            f"UID:1\nSUMMARY:Anna\\, carl\n{times}",
            f"UID:2\nSUMMARY:Team lunch\n{times}RRULE:FREQ=SECONDLY\n",
            f"UID:3\nSUMMARY:Mr Smith\n{times}".replace("0602T", "0603T"),
        ),
        people={"mr smith": "ben"},
    )
    assert on(made, "2026-06-01T12:00Z") == ("Carl", "anna", "ben")
    assert on(made, "2026-06-02T12:00Z") == ("ben",)
    invited = (
        f"UID:1\nSUMMARY:On call\n{times}ATTENDEE;CN=Anna:mailto:a@example.com\n"
        "ATTENDEE:MAILTO:ben@example.com\nATTENDEE;PARTSTAT=DECLINED;CN=Carl:mailto:c@example.com\n"
    )
    known = {"ben@example.com": "ben"}
    made = schedule(calendar(invited), name_in="attendee", people=known)
    assert on(made, "2026-06-01T12:00Z") == ("anna", "ben")
    with pytest.raises(ConfigError, match="there is no receiver 'zoe'"):
        schedule(calendar(invited), people={"z": "zoe"})


def test_the_last_calendar_counts_most_and_layers_least() -> None:
    one = "UID:1\nSUMMARY:anna\nDTSTART:20260601T000000Z\nDTEND:20260604T000000Z\n"
    other = one.replace("anna", "ben").replace("0601", "0602").replace("0604", "0603")
    config = {
        "name": "primary",
        "layers": [{"people": ["Carl"], "start": "2026-01-01", "every": "1y"}],
        "calendars": [{"text": calendar(one)}, {"text": calendar(other)}],
    }
    made = Schedule(ScheduleConfig.model_validate(config), PEOPLE)
    found = made.shifts(from_rfc3339("2026-05-31"), from_rfc3339("2026-06-05"))
    assert [(one.person, one.why) for one in found] == [
        ("Carl", "layer 1"),
        ("anna", "calendar 1"),
        ("ben", "calendar 2"),
        ("anna", "calendar 1"),
        ("Carl", "layer 1"),
    ]


def test_events_of_one_person_that_overlap_are_one_shift() -> None:
    one = "UID:1\nSUMMARY:anna\nDTSTART:20260601T000000Z\nDTEND:20260603T000000Z\n"
    other = one.replace("UID:1", "UID:2").replace("0603", "0604").replace("0601", "0602")
    made = schedule(calendar(one, other))
    (shift,) = made.shifts(from_rfc3339("2026-05-01"), from_rfc3339("2026-07-01"))
    assert shift.end - shift.start == 3 * DAY


def test_a_zone_that_the_file_describes() -> None:
    zone = """\
BEGIN:VTIMEZONE
TZID:Office
BEGIN:STANDARD
DTSTART:19700101T000000
TZOFFSETFROM:+0300
TZOFFSETTO:+0300
{}END:STANDARD
END:VTIMEZONE
"""
    event = WEEKLY.replace("Europe/Berlin", "Office")
    made = schedule(calendar(event, head=zone.format("")))
    assert on(made, "2026-10-05T06:00Z") == ("anna",)
    assert on(made, "2026-10-05T05:59Z") == ()
    for rule in ("FREQ=SECONDLY", "FREQ=YEARLY;INTERVAL=0"):
        with pytest.raises(ValidationError, match="does not change by the year"):
            schedule(calendar(event, head=zone.format(f"RRULE:{rule}\n")))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hello", "not an iCalendar file"),
        ("BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\n", "not an iCalendar file"),
        (calendar()[15:], "not an iCalendar file"),
        ("BEGIN:VEVENT\r\nUID:1\r\nEND:VEVENT\r\n", "does not begin with BEGIN:VCALENDAR"),
        ("\x00\x01\x02", "not an iCalendar file"),
    ],
)
def test_what_is_no_calendar_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        schedule(text)


def test_a_file_is_read_once_and_its_text_kept(tmp_path: Path) -> None:
    file = tmp_path / "team.ics"
    file.write_text(calendar(WEEKLY), newline="")
    config = ScheduleConfig.model_validate({"name": "p", "calendars": [{"file": str(file)}]})
    file.unlink()
    again = ScheduleConfig.model_validate(config.model_dump(mode="json"))
    made = Schedule(again, PEOPLE)
    (shift,) = made.current(from_rfc3339("2026-10-06"))
    assert (shift.person, shift.why) == ("anna", "calendar team.ics")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\xff\xfe", "not UTF-8"),
        (b" \r\n", "is empty"),
        (b"x" * ((4 << 20) + 1), "larger than 4 MiB"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, data: bytes | None, said: str) -> None:
    file = tmp_path / "team.ics"
    if data is not None:
        file.write_bytes(data)
    with pytest.raises(ValidationError, match=rf"team\.ics.*{said}"):
        ScheduleConfig.model_validate({"name": "p", "calendars": [{"file": str(file)}]})


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("FREQ=WEEKLY;INTERVAL=2", "FREQ=SECONDLY", "FREQ=SECONDLY is too often"),
        ("FREQ=WEEKLY;INTERVAL=2", "FREQ=MINUTELY;COUNT=3", "too often"),
        ("FREQ=WEEKLY;INTERVAL=2", "FREQ=HOURLY", "BYHOUR lists hours"),
        ("FREQ=WEEKLY;INTERVAL=2", "FREQ=SOMETIMES", "RRULE is wrong"),
        ("INTERVAL=2", "INTERVAL=0", "INTERVAL has to be"),
        ("INTERVAL=2", "INTERVAL=-3", "INTERVAL has to be"),
        ("INTERVAL=2", "BYMONTH=2;BYMONTHDAY=30", "never happens"),
        ("FREQ=WEEKLY;INTERVAL=2", "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", "never happens"),
        ("INTERVAL=2", "BYHOUR=1,2,3,4,5;BYMINUTE=1,2,3,4,5", "25 times a day"),
        ("20261005T", "00011005T", "begin in 1970"),
        ("DTEND;TZID=Europe/Berlin:2026", "DTEND;TZID=Europe/Berlin:9999", "longer than a year"),
        (f"{BERLIN}:20261005T090000", "DTSTART:yesterday", "DTSTART"),
        (f"{BERLIN}:20261005T090000", "X-A:b", "no time in DTSTART"),
        (BERLIN, "DTSTART;TZID=Mars/Base", "'Mars/Base' of DTSTART is not known"),
    ],
)
def test_events_that_make_no_sense_or_no_end_are_refused(old: str, new: str, said: str) -> None:
    assert old in WEEKLY
    with pytest.raises(ConfigError, match=said) as caught:
        schedule(calendar(WEEKLY.replace(old, new, 1)))
    assert "primary" in str(caught.value)
    schedule(calendar(WEEKLY.replace(old, new, 1).replace("anna", "lunch")))  # about nobody


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "rule",
    [
        "FREQ=DAILY;INTERVAL=7;BYDAY=TU",  # from a Monday: never, which only shows in year 9999
        "FREQ=DAILY;BYHOUR=0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23",
        "FREQ=YEARLY;INTERVAL=9999",
        "FREQ=MONTHLY;BYSETPOS=-1;BYDAY=MO,TU,WE,TH,FR",
        "FREQ=DAILY;COUNT=99999999",
    ],
)
def test_what_is_odd_but_bounded_is_worked_out(rule: str) -> None:
    made = schedule(calendar(WEEKLY.replace("FREQ=WEEKLY;INTERVAL=2", rule)))
    made.shifts(from_rfc3339("2026-10-01"), from_rfc3339("2026-12-01"))
    made.on_call(from_rfc3339("2090-01-01"))


def test_an_event_that_breaks_later_leaves_the_rest_of_the_schedule(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = schedule(calendar(WEEKLY))
    ((_, file),) = made._calendars

    class Broken:
        def between(self, *_: object) -> None:
            raise ValueError

    monkeypatch.setattr(file, "_query", Broken())
    assert on(made, "2030-01-01") == ()


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe"]),
    st.sampled_from(["1h", "12h", "1d", "1w"]),
    st.integers(0, 400 * 24 * 60),
    st.lists(st.integers(0, 20 * DAY - 1), max_size=10),
)
def test_what_is_exported_can_be_imported(
    zone: str, every: str, minute: int, moments: list[int]
) -> None:
    night = {"start_time": "17:30", "end_time": "08:15"}
    config = {
        "name": "primary",
        "time_zone": zone,
        "layers": [
            {"people": ["anna", "ben"], "start": "2026-01-01T09:00", "every": every},
            {"people": ["Carl"], "start": "2026-01-01T12:00", "every": "1d", "times": [night]},
        ],
        "overrides": [{"person": "ben", "start": "2026-03-20", "end": "2026-04-02T03:30"}],
    }
    made = Schedule(ScheduleConfig.model_validate(config), PEOPLE)
    start = Millis(from_rfc3339("2026-01-03") + minute * MINUTE)
    end = Millis(start + 20 * DAY)
    text = written("primary", made.shifts(start, end, whole=True), start).decode()
    again = schedule(text, zone="Asia/Tokyo")
    for at in [start, Millis(end - 1), *(Millis(start + one) for one in moments)]:
        assert again.on_call(at) == made.on_call(at)


def test_the_same_shift_keeps_its_uid() -> None:
    config = {"name": "p", "layers": [{"people": ["anna", "ben"], "start": "2026-01-01"}]}
    made = Schedule(ScheduleConfig.model_validate(config), PEOPLE)

    def uids(start: Millis) -> list[str]:
        shifts = made.shifts(start, Millis(start + 30 * DAY), whole=True)
        parsed = Calendar.from_ical(written("p", shifts, start))
        return [str(one["UID"]) for one in parsed.walk("VEVENT")]

    begin = from_rfc3339("2026-02-03T04:05")
    first, later = uids(begin), uids(Millis(begin + 30 * HOUR))
    assert len(set(first)) == len(first) >= 5
    assert set(first) <= set(later) | {first[0]}
    assert set(later) - set(first) <= {later[-1]}


def test_the_export_is_a_valid_calendar() -> None:
    config = {"name": "p, q; r", "layers": [{"people": ["anna"], "start": "2026-01-01"}]}
    made = Schedule(ScheduleConfig.model_validate(config), PEOPLE)
    text = written("p, q; r", made.shifts(Millis(0), from_rfc3339("2026-01-05")), Millis(0))
    assert text.startswith(b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:")
    assert text.endswith(b"END:VCALENDAR\r\n")
    assert text.count(b"\n") == text.count(b"\r\n")
    (event,) = Calendar.from_ical(text).walk("VEVENT")
    assert not event.errors
    assert {"UID", "DTSTAMP", "DTSTART", "DTEND", "SUMMARY"} <= set(event)
    assert b"DTSTART:20260101T000000Z\r\n" in text
