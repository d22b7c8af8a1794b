"""Calendars: days on which a weekday looks like a weekend, and times of planned work.

A calendar is a list of windows, written in the configuration or read from a file (iCalendar or
YAML), for some of the watched system: entities by name (`eu/*`) or by label (`region: eu-*`).
Files are read once, when the configuration is: what they said is then part of it, and so of a
recording, and a replay does not depend on a file that has changed since.

A window is a wall-clock time in a time zone, and may repeat. Nothing here reads a clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from dos.detect.ical import read_ical
from dos.kit.clock import HOUR, Millis, to_datetime
from dos.kit.yaml_source import MAX_BYTES, DocumentError, read
from dos.model.entity import Entity
from dos.model.telemetry import SeriesSpec, UInt8Array

_YEARLY_FROM = 1972
"""A day without a year begins to repeat here: a leap year, so that 02-29 is one."""
_PERIOD = {"daily": timedelta(days=1), "weekly": timedelta(days=7)}


class CalendarKind(StrEnum):
    """What a calendar's windows are."""

    HOLIDAY = "holiday"
    """The daily shape of a weekend is expected."""
    MAINTENANCE = "maintenance"
    """No incident is opened on the entities."""


class WindowConfig(BaseModel):
    """A stretch of time, once or repeated."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: str
    """`2026-12-24` or `2026-11-28T22:00`, on the clock of the time zone."""
    end: str
    """The first moment that no longer belongs to it, written in the same way."""
    repeat: Literal["daily", "weekly", "yearly"] | None = None
    """How often it comes again; left out: it does not."""
    every: int = Field(default=1, ge=1, le=100)
    """Every so many days or weeks."""
    until: str | None = None
    """No repetition begins after this time."""
    without: tuple[str, ...] = ()
    """Beginnings of repetitions that are left out."""
    timezone: str | None = None
    """Time zone, where it is another one than the calendar's."""
    title: str = Field(default="", max_length=500)
    """Shown to people."""

    @field_validator("start", "end", "until")
    @classmethod
    def _is_time(cls, value: str | None) -> str | None:
        if value is not None:
            _local(value)
        return value

    @model_validator(mode="after")
    def _ends_later(self) -> Self:
        if _local(self.end) <= _local(self.start):
            msg = "end must be after start"
            raise ValueError(msg)
        if self.repeat == "yearly" and self.every != 1:
            msg = "every is for daily and weekly windows"
            raise ValueError(msg)
        return self


class CalendarConfig(BaseModel):
    """Holidays or planned work of some of the watched system."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=100)
    """Shown to people."""
    kind: CalendarKind
    """`holiday`: the shape of a weekend is expected; `maintenance`: no incident is opened."""
    file: Path | None = None
    """Where windows are read from: iCalendar (`.ics`), or YAML with `days` and `windows`."""
    days: tuple[str, ...] = ()
    """Whole days: `2026-12-24`, or `12-25` for every year."""
    windows: tuple[WindowConfig, ...] = ()
    """Other stretches of time."""
    timezone: str = "UTC"
    """Name of the time zone whose clock is meant, such as `Europe/Berlin`."""
    entities: tuple[str, ...] = ()
    """Names or patterns (`shop/*`) of the entities it is for; empty: all."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels of a series or attributes of an entity, as patterns, that must all match."""

    @model_validator(mode="before")
    @classmethod
    def _read_file(cls, raw: object) -> object:
        if not isinstance(raw, Mapping) or not isinstance(raw.get("file"), str | Path):
            return raw
        read = _read(Path(str(raw["file"])))
        given = {key: value for key, value in raw.items() if key != "file"}
        for key in ("days", "windows"):
            given[key] = [*(given.get(key) or ()), *read.get(key, ())]
        return given

    @field_validator("timezone")
    @classmethod
    def _zone_exists(cls, value: str) -> str:
        _zone(value)
        return value

    @field_validator("days")
    @classmethod
    def _are_days(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for day in value:
            _day(day)
        return value

    @model_validator(mode="after")
    def _zones_exist(self) -> Self:
        for window in self.windows:
            if window.timezone is not None:
                _zone(window.timezone)
        if not self.days and not self.windows:
            msg = "a calendar needs days, windows, or a file with some"
            raise ValueError(msg)
        return self

    def covers(self, entity: str, labels: Sequence[tuple[str, str]]) -> bool:
        """Whether it is for `entity` with these labels or attributes."""
        if self.entities and not matches(entity, self.entities):
            return False
        there = dict(labels)
        return all(fnmatchcase(there.get(key, ""), one) for key, one in self.labels.items())


def matches(entity: str, patterns: Sequence[str]) -> bool:
    """Whether `entity` is one of `patterns`, each a name or a shell pattern such as `shop/*`."""
    return any(fnmatchcase(entity, pattern) for pattern in patterns)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    """A window, ready to be asked."""

    start: datetime
    length: timedelta
    zone: ZoneInfo
    repeat: str | None
    every: int
    until: datetime
    without: frozenset[datetime]

    def holds(self, moment: datetime) -> bool:
        """Whether `moment` (aware) lies in it."""
        local = moment.astimezone(self.zone).replace(tzinfo=None)
        began = self._began(local)
        return (
            began is not None
            and began <= local < began + self.length
            and began <= self.until
            and began not in self.without
        )

    def _began(self, local: datetime) -> datetime | None:
        """When the newest repetition not after `local` began."""
        if local < self.start:
            return None
        if self.repeat is None:
            return self.start
        if self.repeat == "yearly":
            years = (local.year, local.year - 1)
            begun = [one for one in map(self._in_year, years) if one is not None and one <= local]
            return max(begun, default=None)
        period = _PERIOD[self.repeat] * self.every
        return self.start + (local - self.start) // period * period

    def _in_year(self, year: int) -> datetime | None:
        try:
            return self.start.replace(year=year)
        except ValueError:  # 29 February
            return None


class Calendars:
    """All configured calendars, ready to be asked."""

    def __init__(self, configs: Sequence[CalendarConfig] = ()) -> None:
        self._spans = [(one, _spans(one)) for one in configs]
        self._holidays = [one for one in self._spans if one[0].kind is CalendarKind.HOLIDAY]
        self._works = [one for one in self._spans if one[0].kind is CalendarKind.MAINTENANCE]
        self._groups: dict[tuple[int, ...], int] = {(): 0}
        self._minute = -1
        self._working: list[CalendarConfig] = []

    @cached_property
    def has_holidays(self) -> bool:
        """Whether any day is not what its weekday says."""
        return bool(self._holidays)

    def active(self, now: Millis) -> Sequence[CalendarConfig]:
        """Calendars in one of whose windows `now` lies."""
        moment = to_datetime(now)
        return [one for one, spans in self._spans if any(span.holds(moment) for span in spans)]

    def in_maintenance(self, entity: Entity, now: Millis) -> bool:
        """Whether planned work is going on at `entity`. Cheap to ask again within a minute."""
        return self.is_maintenance(now) and any(
            one.covers(entity.id, entity.attributes) for one in self._working
        )

    def is_maintenance(self, now: Millis) -> bool:
        """Whether planned work is going on anywhere. Cheap to ask again within a minute."""
        if now // 60_000 != self._minute:
            moment, self._minute = to_datetime(now), now // 60_000
            self._working = [
                one for one, spans in self._works if any(span.holds(moment) for span in spans)
            ]
        return bool(self._working)

    def group_of(self, spec: SeriesSpec) -> int:
        """Number of the set of holiday calendars that are for this series; 0: none.

        Series of one group share a row of `hours_off`. The numbers are given in order of asking.
        """
        key = tuple(
            index
            for index, (one, _) in enumerate(self._holidays)
            if one.covers(spec.entity, spec.labels)
        )
        return self._groups.setdefault(key, len(self._groups))

    def hours_off(self, first: int, count: int) -> UInt8Array:
        """Which hours belong to a holiday.

        Args:
            first: Hours since the epoch.
            count: How many hours from there.

        Returns:
            `[group, hour]`, 1 where it does; a row for each group asked for so far.

        Cost: about 1 µs for each hour and window.
        """
        table = np.zeros((len(self._groups), count), np.uint8)
        moments = [to_datetime(Millis((first + hour) * HOUR)) for hour in range(count)]
        for index, (_, spans) in enumerate(self._holidays):
            off = np.array([any(s.holds(at) for s in spans) for at in moments], np.uint8)
            for members, row in self._groups.items():
                if index in members:
                    table[row] |= off
        return table


class DaysOff:
    """Which hours are holidays for which series, as a table that compiled code can look into.

    The table begins at the epoch and is filled where it is needed, so that its memory is half a
    megabyte for each group of series with the same calendars.

    Args:
        calendars: The holidays.
    """

    FIRST = 0
    """Hours since the epoch of the first column."""
    _GROUPS = 256
    _STEP = 32 * 24
    _BACK, _AHEAD = 9 * 24, 2 * 24
    """Hours before and after a sample that it may ask about."""
    _LAST = 150 * 366 * 24
    """Columns at most: later hours are no holidays."""

    def __init__(self, calendars: Calendars) -> None:
        self._calendars = calendars
        self.table: UInt8Array = np.zeros((1, 0), np.uint8)
        """`[group, hour]` 1 where it is a holiday."""
        self._known = (0, 0)

    @property
    def matter(self) -> bool:
        """Whether there is any holiday."""
        return self._calendars.has_holidays

    def group_of(self, spec: SeriesSpec) -> int:
        """The row of the table for a series; 0 has no holidays."""
        group = self._calendars.group_of(spec)
        if group >= len(self.table):
            self.table, self._known = np.zeros((group + 1, 0), np.uint8), (0, 0)
        return group if group < self._GROUPS else 0

    def cover(self, first: Millis, last: Millis) -> None:
        """Make the table right for samples of `[first, last]`. Cheap when it is already."""
        low = max(0, first // HOUR - self._BACK)
        high = min(self._LAST, last // HOUR + self._AHEAD)
        known = self._known
        if not self.matter or (known[0] <= low and high <= known[1]):
            return
        begin = low // self._STEP * self._STEP
        end = min(self._LAST, (high // self._STEP + 1) * self._STEP)
        if begin >= end:
            return
        # A stretch beside the known one joins it; one elsewhere takes its place.
        if known[0] <= end and begin <= known[1] and known[0] < known[1]:
            begin, end = min(begin, known[0]), max(end, known[1])
        table = np.zeros((len(self.table), end), np.uint8)
        fresh = self._calendars.hours_off(begin, end - begin)
        table[: len(fresh), begin:] = fresh[: len(table)]
        self.table, self._known = table, (begin, end)


def _spans(config: CalendarConfig) -> list[_Span]:
    whole = [_day(day) for day in config.days]
    return [_span(window, config.timezone) for window in (*whole, *config.windows)]


def _span(window: WindowConfig, timezone: str) -> _Span:
    start = _local(window.start)
    return _Span(
        start=start,
        length=_local(window.end) - start,
        zone=_zone(window.timezone or timezone),
        repeat=window.repeat,
        every=window.every,
        until=_local(window.until) if window.until else datetime.max,  # noqa: DTZ901  local
        without=frozenset(_local(one) for one in window.without),
    )


def _day(text: str) -> WindowConfig:
    """The window of a whole day.

    Raises:
        ValueError: Not `2026-12-24` or `12-25`.
    """
    yearly = text.count("-") == 1
    try:
        day = date.fromisoformat(f"{_YEARLY_FROM}-{text}" if yearly else text)
    except ValueError:
        msg = f"{text!r} is not a day; write 2026-12-24, or 12-25 for every year"
        raise ValueError(msg) from None
    after = day + timedelta(days=1)
    return WindowConfig(
        start=day.isoformat(), end=after.isoformat(), repeat="yearly" if yearly else None
    )


def _local(text: str) -> datetime:
    """A time on a wall clock, or a day's beginning.

    Raises:
        ValueError: Not such a time.
    """
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        msg = f"{text!r} is not a time; write 2026-11-28T22:00 or 2026-11-28"
        raise ValueError(msg) from None
    if parsed.tzinfo is not None:
        msg = f"{text!r} names an offset; leave it out and set timezone"
        raise ValueError(msg)
    return parsed


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        msg = f"{name!r} is not a known time zone; write for example Europe/Berlin"
        raise ValueError(msg) from None


def _read(path: Path) -> Mapping[str, Sequence[object]]:
    """`days` and `windows` of a file.

    Raises:
        ValueError: It cannot be read; says why.
    """
    try:
        if path.suffix.lower() in {".ics", ".ical"}:
            return {"windows": [one.as_keys() for one in read_ical(_text(path), str(path))]}
        document = read(path, list_as="days").value
    except DocumentError as error:
        raise ValueError(str(error)) from None
    if not set(document) <= {"days", "windows"}:
        msg = f"{path} may have the keys days and windows, not {sorted(document)}"
        raise ValueError(msg)
    return {key: value for key, value in document.items() if isinstance(value, list)}


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            msg = f"{path} is larger than 1 MiB"
            raise ValueError(msg)
        return path.read_text("utf-8")
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}"
        raise ValueError(msg) from None
    except UnicodeDecodeError:
        msg = f"{path} is not UTF-8 text"
        raise ValueError(msg) from None
