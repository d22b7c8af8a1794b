"""Who is on call: rotations across daylight saving, restrictions, layers, overrides, gaps."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dos.alerting.base import AlertingConfig
from dos.alerting.oncall import Schedule, Shift
from dos.alerting.oncall_config import ScheduleConfig
from dos.kit.clock import DAY, HOUR, MINUTE, Millis, from_rfc3339, to_datetime
from dos.kit.errors import ConfigError

PEOPLE = ("anna", "ben", "carl", "dora")


def schedule(zone: str = "Europe/Berlin", **keys: Any) -> Schedule:
    keys = {"name": "primary", "time_zone": zone, **keys}
    return Schedule(ScheduleConfig.model_validate(keys), PEOPLE)


def turns(zone: str, start: str, every: str = "1w", **keys: Any) -> Schedule:
    layer = {"people": ["anna", "ben"], "start": start, "every": every, **keys}
    return schedule(zone, layers=[layer])


def local(made: Schedule, shifts: list[Shift]) -> list[tuple[str, str]]:
    """Person and local beginning of each shift."""
    return [
        (one.person, to_datetime(one.start).astimezone(made.zone).strftime("%m-%d %H:%M"))
        for one in shifts
    ]


def when(made: Schedule, text: str, fold: int = 0) -> Millis:
    at = datetime.fromisoformat(text).replace(tzinfo=made.zone, fold=fold)
    return Millis(round(at.timestamp() * 1000))


@pytest.mark.parametrize(
    ("zone", "start"),
    [
        ("Europe/Berlin", "2026-03-16T09:00"),  # an hour forward on 03-29
        ("Europe/Berlin", "2026-10-12T09:00"),  # and back on 10-25
        ("America/New_York", "2026-02-23T09:00"),
        ("America/New_York", "2026-10-19T09:00"),
        ("Australia/Lord_Howe", "2026-03-23T09:00"),  # half an hour
        ("Australia/Lord_Howe", "2026-09-21T09:00"),
    ],
)
@pytest.mark.parametrize("every", ["1d", "1w", "2w"])
def test_handovers_stay_at_nine_across_daylight_saving(zone: str, start: str, every: str) -> None:
    made = turns(zone, start, every)
    begin = when(made, start)
    found = made.shifts(begin, Millis(begin + 42 * DAY), whole=True)
    assert {at[-5:] for _, at in local(made, found)} == {"09:00"}
    lengths = {one.end - one.start for one in found}
    assert len(lengths) == 2, "a turn is longer or shorter on the night of the change"
    assert [one.person for one in found[:4]] == ["anna", "ben", "anna", "ben"][: len(found)]
    for one in found:
        assert made.on_call(one.start) == made.on_call(Millis(one.end - 1)) == (one.person,)


def test_turns_of_hours_count_what_has_passed() -> None:
    made = turns("Europe/Berlin", "2026-03-28T21:00", "12h")
    found = made.shifts(when(made, "2026-03-28T21:00"), when(made, "2026-03-30T09:00"))
    assert local(made, found) == [
        ("anna", "03-28 21:00"),
        ("ben", "03-29 10:00"),
        ("anna", "03-29 22:00"),
    ]


@pytest.mark.parametrize(
    ("start", "seen"),
    [
        ("2026-03-27T02:30", ["03-28 02:30", "03-29 03:30", "03-30 02:30"]),  # skipped
        ("2026-10-23T02:30", ["10-24 02:30", "10-25 02:30", "10-26 02:30"]),  # there twice
    ],
)
def test_a_handover_in_the_night_of_the_change(start: str, seen: list[str]) -> None:
    made = turns("Europe/Berlin", start, "1d")
    begin = when(made, start)
    found = made.shifts(Millis(begin + DAY), Millis(begin + 3 * DAY + 2 * HOUR), whole=True)
    assert [at for _, at in local(made, found)][:3] == seen


def test_of_two_equal_local_times_the_first_counts() -> None:
    made = turns("Europe/Berlin", "2026-10-24T02:30", "1d")
    assert made.on_call(when(made, "2026-10-25T02:29")) == ("anna",)
    assert made.on_call(when(made, "2026-10-25T02:30")) == ("ben",)
    assert made.on_call(when(made, "2026-10-25T02:29", fold=1)) == ("ben",)


def test_a_day_that_an_island_skipped_has_no_turn() -> None:
    made = turns("Pacific/Apia", "2011-12-28T09:00", "1d")
    found = made.shifts(when(made, "2011-12-28T09:00"), when(made, "2012-01-01T09:00"))
    assert local(made, found) == [
        ("anna", "12-28 09:00"),
        ("ben", "12-29 09:00"),
        ("ben", "12-31 09:00"),  # anna's day did not exist
    ]


def test_a_leap_day_is_a_day() -> None:
    made = turns("UTC", "2028-02-27", "1d")
    found = made.shifts(from_rfc3339("2028-02-28"), from_rfc3339("2028-03-02"))
    assert local(made, found) == [
        ("ben", "02-28 00:00"),
        ("anna", "02-29 00:00"),
        ("ben", "03-01 00:00"),
    ]


def test_nobody_is_on_call_before_the_first_turn() -> None:
    made = turns("Europe/Berlin", "2026-06-01T09:00")
    begin = when(made, "2026-06-01T09:00")
    assert made.on_call(Millis(begin - 1)) == ()
    assert made.on_call(begin) == ("anna",)
    assert made.on_call(Millis(-5)) == made.on_call(Millis(2**53)) == ()


def test_hours_may_pass_midnight_and_belong_to_the_day_they_begin_on() -> None:
    nights = {"weekdays": ["monday:friday"], "start_time": "18:00", "end_time": "08:00"}
    weekend = {"weekdays": ["saturday", "sunday"], "start_time": "08:00", "end_time": "08:00"}
    made = turns("Europe/Berlin", "2026-06-01T12:00", times=[nights, weekend])  # a Monday
    for text, people in [
        ("2026-06-01T17:59", ()),
        ("2026-06-01T18:00", ("anna",)),
        ("2026-06-02T07:59", ("anna",)),
        ("2026-06-02T08:00", ()),
        ("2026-06-06T03:00", ("anna",)),  # Friday's night
        ("2026-06-06T12:00", ("anna",)),
        ("2026-06-08T07:59", ("anna",)),  # Sunday's
        ("2026-06-08T08:00", ()),
        ("2026-06-08T18:00", ("ben",)),
    ]:
        assert made.on_call(when(made, text)) == people, text
    friday = made.current(when(made, "2026-06-05T20:00"))
    assert local(made, friday) == [("anna", "06-05 18:00")]
    assert friday[0].end == when(made, "2026-06-08T08:00"), "stretches that meet are one"


def test_hours_of_the_night_of_the_change_end_on_the_clock() -> None:
    night = {"start_time": "22:00", "end_time": "06:00"}
    made = turns("Europe/Berlin", "2026-03-01T12:00", times=[night])
    (one,) = made.current(when(made, "2026-03-29T00:30"))
    assert one.end - one.start == 7 * HOUR
    assert one.end == when(made, "2026-03-29T06:00")


def test_later_layers_come_first_where_they_have_somebody() -> None:
    day = {"weekdays": ["monday:friday"], "start_time": "09:00", "end_time": "17:00"}
    made = schedule(
        layers=[
            {"people": ["anna"], "start": "2026-06-01T00:00"},
            {"name": "office", "people": ["ben"], "start": "2026-06-01T00:00", "times": [day]},
        ]
    )
    found = made.shifts(when(made, "2026-06-05T00:00"), when(made, "2026-06-08T10:00"))
    assert [(one.person, one.why) for one in found] == [
        ("anna", "layer 1"),
        ("ben", "office"),
        ("anna", "layer 1"),
        ("anna", "layer 1"),  # her next turn
        ("ben", "office"),
    ]


def test_overrides_come_first_and_the_last_one_most() -> None:
    made = schedule(
        layers=[{"people": ["anna"], "start": "2026-06-01T00:00"}],
        overrides=[
            {"person": "ben", "start": "2026-06-02", "end": "2026-06-04"},
            {"person": "carl", "start": "2026-06-03T12:00+00:00", "end": "2026-06-05T00:00"},
            {"person": "dora", "start": "2026-07-02", "end": "2026-07-03"},
        ],
    )
    found = made.shifts(when(made, "2026-06-01"), when(made, "2026-06-06"))
    assert local(made, found) == [
        ("anna", "06-01 00:00"),
        ("ben", "06-02 00:00"),
        ("carl", "06-03 14:00"),
        ("anna", "06-05 00:00"),
    ]
    assert "until 2026-06-05T00:00+02:00 (override)" in made.reason(found[2])


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({}, "at least one of layers"),
        ({"time_zone": "Mars/Base", "layers": [{"people": ["a"], "start": "2026-01-01"}]}, "Mars"),
        ({"layers": [{"people": [], "start": "2026-01-01"}]}, "at least 1"),
        ({"layers": [{"people": ["a"], "start": "soon"}]}, "not a time"),
        ({"layers": [{"people": ["a"], "start": "1950-01-01"}]}, "1970"),
        ({"layers": [{"people": ["a"], "start": "2026-01-01T00:00Z"}]}, "names an offset"),
        ({"layers": [{"people": ["a"], "start": "2026-01-01", "every": "1m"}]}, "3600"),
        ({"layers": [{"people": ["a"], "start": "2026-01-01", "every": "2y"}]}, "less than"),
        (
            {"layers": [{"people": ["a"], "start": "2026-01-01", "times": [{"weekdays": ["x"]}]}]},
            "not a day of the week",
        ),
        (
            {
                "layers": [
                    {"people": ["a"], "start": "2026-01-01", "times": [{"start_time": "24:00"}]}
                ]
            },
            "next weekday",
        ),
        ({"overrides": [{"person": "a", "start": "2026-01-02", "end": "2026-01-02"}]}, "ends befo"),
        ({"calendars": [{}]}, "one of file and text"),
        ({"calendars": [{"file": "nowhere.ics"}]}, "nowhere.ics cannot be read"),
    ],
)
def test_what_cannot_work_is_refused(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        ScheduleConfig.model_validate({"name": "primary", **keys})


def test_names_have_to_be_known_and_unique() -> None:
    one = {"name": "primary", "layers": [{"people": ["zoe"], "start": "2026-01-01"}]}
    with pytest.raises(ConfigError, match="primary: there is no receiver 'zoe'"):
        Schedule(ScheduleConfig.model_validate(one), PEOPLE)
    with pytest.raises(ValidationError, match="two schedules are called 'primary'"):
        AlertingConfig.model_validate({"schedules": [one, one]})


BEGIN = datetime.fromisoformat("2025-01-01")
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]
moments = st.datetimes(BEGIN, BEGIN + timedelta(days=730)).map(
    lambda one: one.replace(second=0, microsecond=0)
)
clock_times = st.integers(0, 95).map(lambda one: f"{one // 4:02}:{one % 4 * 15:02}")
day_names = st.sampled_from(["monday", "tuesday:thursday", "saturday", "sunday", "friday:saturday"])
hours = st.fixed_dictionaries(
    {"start_time": clock_times, "end_time": clock_times},
    optional={"weekdays": st.lists(day_names, min_size=1, max_size=2)},
)
layers = st.fixed_dictionaries(
    {
        "people": st.lists(st.sampled_from(PEOPLE), min_size=1, max_size=4),
        "start": moments.map(datetime.isoformat),
        "every": st.sampled_from(["1h", "12h", "36h", "1d", "3d", "1w", "2w"]),
    },
    optional={"times": st.lists(hours, max_size=2)},
)
overrides = st.builds(
    lambda person, start, length: {
        "person": person,
        "start": start.isoformat(),
        "end": (start + timedelta(minutes=length)).isoformat(),
    },
    st.sampled_from(PEOPLE),
    moments,
    st.integers(120, 60_000),
)
schedules = st.builds(
    schedule,
    st.sampled_from(ZONES),
    layers=st.lists(layers, min_size=1, max_size=3),
    overrides=st.lists(overrides, max_size=4),
)
starts = st.integers(0, 2 * 365 * 24 * 60).map(
    lambda one: Millis(from_rfc3339("2025-01-01") + one * MINUTE)
)


@settings(max_examples=150, deadline=None)
@given(schedules, starts, st.integers(1, 40 * 24 * 60), st.data())
def test_shifts_tile_and_agree_with_who_is_on_call(
    made: Schedule, start: Millis, minutes: int, data: st.DataObject
) -> None:
    end = Millis(start + minutes * MINUTE)
    found = made.shifts(start, end)
    for one in found:
        assert start <= one.start < one.end <= end
    for one, other in pairwise(found):
        assert one.end <= other.start
    edges = [edge for one in found for edge in (one.start, one.end)]
    chosen = data.draw(st.lists(st.sampled_from([start, *edges]), max_size=6))
    inside = data.draw(st.lists(st.integers(start, end - 1), max_size=6))
    for at in {*inside, *chosen, *(one - 1 for one in chosen)}:
        if start <= at < end:
            expected = tuple(one.person for one in found if one.start <= at < one.end)
            assert made.on_call(Millis(at)) == expected
            assert tuple(one.person for one in made.current(Millis(at))) == expected


@settings(max_examples=60, deadline=None)
@given(schedules, starts, st.integers(1, 9 * DAY), st.integers(1, 9 * DAY))
def test_whole_shifts_do_not_depend_on_the_window(
    made: Schedule, start: Millis, one: int, other: int
) -> None:
    small = made.shifts(start, Millis(start + one), whole=True)
    big = made.shifts(start, Millis(start + one + other), whole=True)
    assert small == [shift for shift in big if shift.start < start + one]


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(ZONES), moments, st.sampled_from([1, 3, 7]), st.integers(0, 400), starts)
@example("Europe/Berlin", datetime.fromisoformat("2026-03-01T02:30"), 1, 28, Millis(0))
def test_a_rotation_is_what_a_calendar_on_the_wall_says(
    zone: str, start: datetime, days: int, number: int, at: Millis
) -> None:
    """Against the plain definition: whose handover was last, of all that there were."""
    made = turns(zone, start.isoformat(), f"{days}d")
    at = Millis(max(at, when(made, start.isoformat()) + number * HOUR))
    handovers, turn = when(made, start.isoformat()), 0
    while handovers <= at:
        turn += 1
        handovers = when(made, (start + timedelta(days=days * turn)).isoformat())
    assert made.on_call(at) == (["anna", "ben"][(turn - 1) % 2],)


def test_the_zone_is_the_schedules_own() -> None:
    assert turns("Asia/Kathmandu", "2026-01-01").zone == ZoneInfo("Asia/Kathmandu")
