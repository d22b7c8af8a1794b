"""Times of day, week and year in which something holds, as in Alertmanager's `time_intervals`.

An interval holds where each of its fields does; a field that is left out always does, and one with
several ranges does where any of them does. Hours end before their end (`24:00` is midnight), all
other ranges include theirs. Days of the month may be counted from its end: `-1` is the last.
"""

from __future__ import annotations

import calendar
import re
from datetime import UTC, datetime, tzinfo
from typing import Annotated
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from dos.kit.clock import Millis, to_datetime

_TIME = re.compile(r"(?:([01]\d|2[0-3]):([0-5]\d))|(24):(00)")
_WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_MONTHS = tuple(name.lower() for name in calendar.month_name)[1:]
_DAYS = 31
Range = tuple[int, int]
"""First and last."""


def minutes_of_day(text: object) -> int:
    """Minutes since midnight of `18:30`; `24:00` is the end of the day.

    Raises:
        ValueError: Not such a time.
    """
    found = _TIME.fullmatch(str(text))
    if found is None:
        msg = f"{text!r} is not a time of day; write 00:00 to 24:00"
        raise ValueError(msg)
    hour, minute = (found[1], found[2]) if found[1] else (found[3], found[4])
    return int(hour) * 60 + int(minute)


def _ends(text: object) -> tuple[str, str]:
    first, colon, last = str(text).strip().lower().partition(":")
    return first.strip(), (last if colon else first).strip()


def _named(text: object, names: tuple[str, ...], first_number: int | None, what: str) -> Range:
    """A range of names (or numbers from `first_number`), as numbers."""

    def number(one: str) -> int:
        if one in names:
            return names.index(one) + (first_number or 0)
        if first_number is not None and one.isdecimal():
            value = int(one)
            if first_number <= value < first_number + len(names):
                return value
        msg = f"{one!r} is not a {what}"
        raise ValueError(msg)

    first, last = (number(one) for one in _ends(text))
    if first > last:
        msg = f"{text!r}: the {what} it begins with comes after the one it ends with"
        raise ValueError(msg)
    return first, last


def weekday_range(text: object) -> Range:
    """First and last day of `monday:friday` or `monday`; Sunday is 0.

    Raises:
        ValueError: Not such days.
    """
    return _named(text, _WEEKDAYS, None, "day of the week")


def _months(text: object) -> Range:
    return _named(text, _MONTHS, 1, "month")


def _years(text: object) -> Range:
    first, last = _ends(text)
    if not (first.isdecimal() and last.isdecimal()):
        msg = f"{text!r} is not a year, nor a range of years such as 2026:2028"
        raise ValueError(msg)
    if int(first) > int(last):
        msg = f"{text!r}: the year it begins with comes after the one it ends with"
        raise ValueError(msg)
    return int(first), int(last)


def _days(text: object) -> Range:
    try:
        first, last = (int(one) for one in _ends(text))
    except ValueError:
        msg = f"{text!r} is not a day of the month, nor a range such as 1:7 or -3:-1"
        raise ValueError(msg) from None
    for one in (first, last):
        if one == 0 or abs(one) > _DAYS:
            msg = f"{text!r}: days of the month are 1 to 31, or -31 to -1 from its end"
            raise ValueError(msg)
    if first < 0 < last:
        msg = f"{text!r}: a range that begins from the end of the month has to end from it as well"
        raise ValueError(msg)
    # As Alertmanager has it: a month of 30 days decides which comes first.
    true_first, true_last = (one if one > 0 else 30 + one for one in (first, last))
    if true_first > true_last:
        msg = f"{text!r}: it ends before it begins"
        raise ValueError(msg)
    return first, last


class Hours(BaseModel):
    """Part of a day."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start_time: Annotated[int, BeforeValidator(minutes_of_day)]
    """Minutes since midnight."""
    end_time: Annotated[int, BeforeValidator(minutes_of_day)]

    @field_validator("end_time")
    @classmethod
    def _after_start(cls, value: int, info: object) -> int:
        start = getattr(info, "data", {}).get("start_time")
        if start is not None and value <= start:
            msg = "end_time has to be later than start_time; split what goes over midnight in two"
            raise ValueError(msg)
        return value


class Span(BaseModel):
    """One interval."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    times: tuple[Hours, ...] | None = None
    weekdays: tuple[Annotated[Range, BeforeValidator(weekday_range)], ...] | None = None
    """0 is Sunday."""
    days_of_month: tuple[Annotated[Range, BeforeValidator(_days)], ...] | None = None
    months: tuple[Annotated[Range, BeforeValidator(_months)], ...] | None = None
    years: tuple[Annotated[Range, BeforeValidator(_years)], ...] | None = None
    location: str | None = None
    """Name of a time zone; UTC without one."""

    @field_validator("location")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value is not None and value not in {"Local", "UTC"} | available_timezones():
            msg = f"there is no time zone {value!r}; write for example Europe/Berlin"
            raise ValueError(msg)
        return value

    def holds(self, at: Millis) -> bool:
        """Whether it is within the interval at `at`."""
        now = to_datetime(at).astimezone(self._zone())
        minute = now.hour * 60 + now.minute
        if self.times is not None and not any(
            one.start_time <= minute < one.end_time for one in self.times
        ):
            return False
        if self.days_of_month is not None and not any(
            _in_month(one, now) for one in self.days_of_month
        ):
            return False
        return (
            _within(self.months, now.month)
            and _within(self.weekdays, (now.weekday() + 1) % 7)
            and _within(self.years, now.year)
        )

    def _zone(self) -> tzinfo | None:
        """None for the machine's own."""
        if self.location == "Local":
            return None
        return UTC if self.location in {None, "UTC"} else ZoneInfo(str(self.location))


def _within(ranges: tuple[Range, ...] | None, value: int) -> bool:
    return ranges is None or any(first <= value <= last for first, last in ranges)


def _in_month(days: Range, now: datetime) -> bool:
    length = calendar.monthrange(now.year, now.month)[1]
    first, last = (one if one > 0 else length + one + 1 for one in days)
    return first <= length and max(first, -length) <= now.day <= min(last, length)


class TimeInterval(BaseModel):
    """Several intervals under a name; it holds where any of them does."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    time_intervals: tuple[Span, ...] = ()

    def holds(self, at: Millis) -> bool:
        """Whether it is within any of the intervals at `at`."""
        return any(one.holds(at) for one in self.time_intervals)
