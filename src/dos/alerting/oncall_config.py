"""Who is on call when, as it is written in the configuration.

What calendar files say is read once, when the configuration is: it is then part of it, and so of a
recording, and a replay does not depend on a file that has changed since.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from dos.alerting.timeinterval import minutes_of_day, weekday_range
from dos.kit.clock import DAY, HOUR, SECOND
from dos.kit.duration import Duration

MAX_BYTES = 4 << 20
"""Of a calendar file: years of a big company's."""
_MOST_PEOPLE = 500
_LONGEST_TURN = 366 * DAY // SECOND
_YEARS = range(1970, 9000)


def _time(value: object) -> datetime:
    try:
        parsed = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        msg = f"{value!r} is not a time; write 2026-11-28T22:00 or 2026-11-28"
        raise ValueError(msg) from None
    if parsed.year not in _YEARS:
        msg = f"{value!r}: the year has to be 1970 or later"
        raise ValueError(msg)
    return parsed


def _local(value: datetime) -> datetime:
    if value.tzinfo is not None:
        msg = f"{value.isoformat()!r} names an offset; leave it out and set time_zone"
        raise ValueError(msg)
    return value


def _checked_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        msg = f"there is no time zone {name!r}; write for example Europe/Berlin"
        raise ValueError(msg) from None
    return name


def _checked_days(text: str) -> str:
    weekday_range(text)
    return text


def _checked_minutes(text: str) -> str:
    minutes_of_day(text)
    return text


Moment = Annotated[
    datetime,
    BeforeValidator(_time),
    PlainSerializer(datetime.isoformat, when_used="json"),
    WithJsonSchema({"type": "string", "examples": ["2026-11-28T22:00"]}),
]
"""A time; one without an offset is meant on the clock of the schedule's time zone."""
LocalMoment = Annotated[Moment, AfterValidator(_local)]
"""A time on the clock of the schedule's time zone."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class HoursConfig(_Part):
    """A stretch of the day, on some days of the week."""

    weekdays: tuple[Annotated[str, AfterValidator(_checked_days)], ...] = ()
    """Days on which it begins: `monday:friday`, `sunday`. Empty: every day."""
    start_time: Annotated[str, AfterValidator(_checked_minutes)] = "00:00"
    """When it begins, local time."""
    end_time: Annotated[str, AfterValidator(_checked_minutes)] = "24:00"
    """When it ends; not after `start_time`: on the next day."""

    @field_validator("start_time")
    @classmethod
    def _begins_in_the_day(cls, value: str) -> str:
        if value == "24:00":
            msg = "a day's last moment is no beginning; write 00:00 and the next weekday"
            raise ValueError(msg)
        return value


class LayerConfig(_Part):
    """People who take turns."""

    name: str = Field(default="", max_length=100)
    """Shown to people; `layer 1` and so on when left out."""
    people: tuple[str, ...] = Field(min_length=1, max_length=_MOST_PEOPLE)
    """Names of receivers, in the order of their turns. One may be named several times."""
    start: LocalMoment
    """When the first turn begins, local time; before it nobody of this layer is on call."""
    every: Annotated[Duration, Field(ge=HOUR // SECOND, le=_LONGEST_TURN)] = 7 * 86400.0
    """How long a turn is. Whole days are counted on the wall clock, so that the hour of the
    handover stays across daylight saving; anything else is counted in elapsed time."""
    times: tuple[HoursConfig, ...] = ()
    """When people of this layer are on call in their turn; empty: always."""


class OverrideConfig(_Part):
    """Somebody stands in for whoever would be on call."""

    person: str = Field(min_length=1)
    """Name of a receiver."""
    start: Moment
    """Local time, or with an offset (`2026-11-28T22:00+01:00`)."""
    end: Moment
    """When it is over."""


class CalendarConfig(_Part):
    """An iCalendar file whose events say who is on call."""

    file: Path | None = None
    """The file (`.ics`). It is read when DOS starts; restart after changing it."""
    name_in: Literal["summary", "attendee"] = "summary"
    """Where events name people: in their title, several with commas between them, or as those
    who take part."""
    people: dict[str, str] = Field(default_factory=dict)
    """Receivers by what events call them (`anna@example.com: anna`), where that is not the name
    of the receiver. Events that name no receiver count for nothing."""
    text: str = Field(default="", repr=False)
    """What the file says, in its stead; recordings have it."""

    @model_validator(mode="before")
    @classmethod
    def _read_file(cls, raw: object) -> object:
        if not isinstance(raw, Mapping) or raw.get("text"):
            return raw
        file = raw.get("file")
        return {**raw, "text": _text(Path(file))} if isinstance(file, str | Path) else raw

    @model_validator(mode="after")
    def _is_calendar(self) -> Self:
        if not self.text:
            msg = "a calendar needs one of file and text"
            raise ValueError(msg)
        from dos.alerting.ical import check

        check(self.text, str(self.file or "text"))
        return self


class ScheduleConfig(_Part):
    """Who is on call when."""

    name: str = Field(min_length=1, max_length=100, pattern=r"^[^/\x00-\x1f]+$")
    """Unique; steps of `escalation` name it."""
    time_zone: Annotated[str, AfterValidator(_checked_zone)] = "UTC"
    """Whose clock is meant, such as `Europe/Berlin`."""
    layers: tuple[LayerConfig, ...] = ()
    """Rotations. Where several have somebody, the last one counts."""
    calendars: tuple[CalendarConfig, ...] = ()
    """iCalendar files. They count more than layers, and the last one most."""
    overrides: tuple[OverrideConfig, ...] = ()
    """Exceptions. They count more than all else, and the last one most."""

    @model_validator(mode="after")
    def _has_somebody(self) -> Self:
        if not (self.layers or self.calendars or self.overrides):
            msg = "a schedule needs at least one of layers, calendars and overrides"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _overrides_end_later(self) -> Self:
        zone = ZoneInfo(self.time_zone)
        for one in self.overrides:
            start, end = (
                moment if moment.tzinfo else moment.replace(tzinfo=zone)
                for moment in (one.start, one.end)
            )
            if end.timestamp() <= start.timestamp():
                msg = f"the override of {one.person!r} ends before it begins"
                raise ValueError(msg)
        return self


def _text(path: Path) -> str:
    """What a calendar file says.

    Raises:
        ValueError: It cannot be read; says why.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}"
        raise ValueError(msg) from None
    if len(data) > MAX_BYTES:
        msg = f"{path} is larger than {MAX_BYTES >> 20} MiB"
        raise ValueError(msg)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        msg = f"{path} is not UTF-8 text"
        raise ValueError(msg) from None
    if not text.strip():
        msg = f"{path} is empty"
        raise ValueError(msg)
    return text
