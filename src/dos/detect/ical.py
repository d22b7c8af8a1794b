"""Reads the events of an iCalendar file (RFC 5545), as far as holidays and planned work need it.

Whole days and times (UTC, floating, or with a `TZID` of the IANA database), `DURATION`, and the
repetitions people use for such things: daily, weekly (with `BYDAY`) and yearly, with `INTERVAL`,
`UNTIL`, `COUNT` and `EXDATE`. Any other rule is refused by name rather than read wrongly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_MOST = 10_000
_DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_REPEAT = {"DAILY": "daily", "WEEKLY": "weekly", "YEARLY": "yearly"}
_PERIOD = {"daily": timedelta(days=1), "weekly": timedelta(days=7)}
_DURATION = re.compile(r"P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?")
_CHANGED = ("BYMONTH", "BYMONTHDAY")
"""Parts that say again what the beginning says already, in a yearly rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event: wall-clock times in `timezone` (None: that of whoever reads the calendar)."""

    start: datetime
    end: datetime
    title: str = ""
    timezone: str | None = None
    repeat: str | None = None
    """`daily`, `weekly` or `yearly`."""
    every: int = 1
    until: datetime | None = None
    without: tuple[datetime, ...] = ()

    def as_keys(self) -> dict[str, object]:
        """As a window of the configuration."""
        return {
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
            "title": self.title,
            "timezone": self.timezone,
            "repeat": self.repeat,
            "every": self.every,
            "until": self.until.isoformat() if self.until else None,
            "without": [one.isoformat() for one in self.without],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """A property: `NAME;PARAMETER=…:value`."""

    parameters: Mapping[str, str]
    value: str


def read_ical(text: str, name: str) -> list[Event]:
    """The events of a calendar; cancelled ones are left out.

    Args:
        text: The file.
        name: Of the file, for messages.

    Raises:
        ValueError: It is no calendar, or has what is not understood; names the event.
    """
    events: list[Event] = []
    for number, lines in enumerate(_components(text, name), start=1):
        if number > _MOST:
            msg = f"{name} has more than {_MOST} events"
            raise ValueError(msg)
        try:
            events += _events(lines)
        except ValueError as error:
            title = lines["SUMMARY"][0].value if "SUMMARY" in lines else f"number {number}"
            msg = f"{name}: event {title!r}: {error}"
            raise ValueError(msg) from None
    return events


def _components(text: str, name: str) -> Iterator[dict[str, list[_Line]]]:
    """The properties of each VEVENT, by name; those of parts nested in it (alarms) are skipped."""
    unfolded = re.sub(r"\r?\n[ \t]", "", text).splitlines()
    if not unfolded or unfolded[0].strip().upper() != "BEGIN:VCALENDAR":
        msg = f"{name} is no iCalendar file: it does not begin with BEGIN:VCALENDAR"
        raise ValueError(msg)
    path: list[str] = []
    current: dict[str, list[_Line]] = {}
    for raw in unfolded:
        head, colon, value = _split(raw.strip())
        if not colon:
            continue
        key, *rest = head.split(";")
        key = key.upper()
        if key == "BEGIN":
            path.append(value.upper())
            if path[1:] == ["VEVENT"]:
                current = {}
        elif key == "END":
            if path[1:] == ["VEVENT"]:
                yield current
            if path:
                path.pop()
        elif path[1:] == ["VEVENT"]:
            pairs = (one.partition("=") for one in rest)
            parameters = {one.upper(): given.strip('"') for one, _, given in pairs}
            current.setdefault(key, []).append(_Line(parameters=parameters, value=value))


def _split(line: str) -> tuple[str, str, str]:
    """Cut at the first colon outside quotes."""
    quoted = False
    for index, character in enumerate(line):
        if character == '"':
            quoted = not quoted
        elif character == ":" and not quoted:
            return line[:index], ":", line[index + 1 :]
    return line, "", ""


def _events(lines: Mapping[str, list[_Line]]) -> list[Event]:
    """What one VEVENT stands for: several where a week's rule names several days."""
    if any(one.value.upper() == "CANCELLED" for one in lines.get("STATUS", ())):
        return []
    if "DTSTART" not in lines:
        msg = "it has no DTSTART"
        raise ValueError(msg)
    if "RDATE" in lines:
        msg = "RDATE is not read; write events of their own"
        raise ValueError(msg)
    start, zone, whole_day = _time(lines["DTSTART"][0])
    excluded = [
        _at(_time(_Line(parameters=line.parameters, value=one)), zone)
        for line in lines.get("EXDATE", ())
        for one in line.value.split(",")
    ]
    once = Event(
        start=start,
        end=_end(lines, start, zone, whole_day=whole_day),
        title=_plain(lines["SUMMARY"][0].value) if "SUMMARY" in lines else "",
        timezone=zone,
        without=tuple(excluded),
    )
    if once.end < once.start:
        msg = "it ends before its beginning"
        raise ValueError(msg)
    if once.end == once.start:  # a moment only: a reminder
        return []
    if "RRULE" not in lines:
        return [once]
    return _repeated(once, lines["RRULE"][0].value)


def _end(
    lines: Mapping[str, list[_Line]], start: datetime, zone: str | None, *, whole_day: bool
) -> datetime:
    """The end on the clock of the beginning; a day without one lasts a day (RFC 5545, 3.6.1)."""
    if "DTEND" in lines:
        return _at(_time(lines["DTEND"][0]), zone)
    if "DURATION" in lines:
        match = _DURATION.fullmatch(lines["DURATION"][0].value)
        if match is None:
            msg = f"DURATION {lines['DURATION'][0].value!r} is not read"
            raise ValueError(msg)
        weeks, days, hours, minutes, seconds = (int(one or 0) for one in match.groups())
        lasts = timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
        return start + lasts
    return start + timedelta(days=1 if whole_day else 0)


def _time(line: _Line) -> tuple[datetime, str | None, bool]:
    """A time, its zone (None: floating), and whether it is a whole day."""
    value, zone = line.value.strip(), line.parameters.get("TZID")
    try:
        if line.parameters.get("VALUE") == "DATE" or len(value) == 8:
            return datetime.strptime(value, "%Y%m%d"), None, True  # noqa: DTZ007  wall clock
        if value.endswith("Z"):
            parsed = datetime.strptime(value, "%Y%m%dT%H%M%SZ")  # noqa: DTZ007  zone beside it
            return parsed, "UTC", False
        parsed = datetime.strptime(value, "%Y%m%dT%H%M%S")  # noqa: DTZ007  zone beside it
    except ValueError:
        msg = f"{value!r} is not a time"
        raise ValueError(msg) from None
    if zone is not None:
        _zone(zone)
    return parsed, zone, False


def _at(given: tuple[datetime, str | None, bool], zone: str | None) -> datetime:
    """A time on the clock of `zone`."""
    moment, own, _ = given
    if own is None or zone is None or own == zone:
        return moment
    return moment.replace(tzinfo=_zone(own)).astimezone(_zone(zone)).replace(tzinfo=None)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        msg = f"{name!r} is not a known time zone"
        raise ValueError(msg) from None


def _repeated(once: Event, rule: str) -> list[Event]:
    parts = {key.upper(): value for key, _, value in (p.partition("=") for p in rule.split(";"))}
    repeat = _REPEAT.get(parts.pop("FREQ", "").upper())
    every = int(parts.pop("INTERVAL", "1"))
    until, count = parts.pop("UNTIL", None), parts.pop("COUNT", None)
    days = [one for one in parts.pop("BYDAY", "").upper().split(",") if one]
    parts.pop("WKST", None)
    if repeat == "yearly":
        for key, said in zip(_CHANGED, (once.start.month, once.start.day), strict=True):
            if parts.get(key) == str(said):
                del parts[key]
    unread = parts or repeat is None or (repeat == "yearly" and (every != 1 or days))
    unread = unread or (days and (repeat != "weekly" or not set(days) <= set(_DAYS)))
    if unread or (count is not None and len(days) > 1) or not 1 <= every <= 100:
        msg = f"the rule {rule!r} is not read; daily, weekly (BYDAY) and yearly ones are"
        raise ValueError(msg)
    last = None if until is None else _until(until, once.timezone)
    if count is not None:
        last = _last_of(once.start, str(repeat), every, int(count))
    starts = [_on(once.start, day) for day in days] or [once.start]
    length = once.end - once.start
    return [
        Event(
            start=start,
            end=start + length,
            title=once.title,
            timezone=once.timezone,
            repeat=repeat,
            every=every,
            until=last,
            without=once.without,
        )
        for start in starts
    ]


def _until(value: str, zone: str | None) -> datetime:
    """The end of a rule; a day counts to its last moment."""
    moment, own, whole_day = _time(_Line(parameters={}, value=value))
    if own == "UTC" and zone is not None:
        moment = moment.replace(tzinfo=UTC).astimezone(_zone(zone)).replace(tzinfo=None)
    return moment + timedelta(days=1, microseconds=-1) if whole_day else moment


def _last_of(start: datetime, repeat: str, every: int, count: int) -> datetime:
    if repeat == "yearly":
        return start.replace(year=start.year + count - 1, day=min(start.day, 28))
    return start + _PERIOD[repeat] * every * (count - 1)


def _on(start: datetime, day: str) -> datetime:
    """The first time not before `start` that is on this day of the week."""
    return start + timedelta(days=(_DAYS.index(day) - start.weekday()) % 7)


def _plain(text: str) -> str:
    """Without the escapes of RFC 5545, 3.3.11; 500 characters at most."""
    return re.sub(r"\\([\\;,nN])", lambda m: " " if m[1] in "nN" else m[1], text)[:500]
