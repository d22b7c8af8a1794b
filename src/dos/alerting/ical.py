"""iCalendar (RFC 5545): reads who is on call from events, and writes shifts as events.

Reading and repeating are done by the libraries `icalendar` and `recurring-ical-events`; they are
imported when a calendar is used, not before. Calendars come from anybody who can edit them, so
what would repeat without end is refused when the file is read, and afterwards only a bounded
window is looked at.

Events in local time that does not exist, or exists twice, are read as RFC 5545 says: see
`millis_of`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any, Protocol, TypeAlias
from zoneinfo import ZoneInfo

from dos.kit import log
from dos.kit.clock import DAY, SECOND, Millis, to_datetime
from dos.kit.errors import ConfigError
from dos.kit.version import __version__

_BLOCK = 64 * DAY
"""Repetitions are worked out for so long a time at once."""
_BLOCKS_KEPT = 16
_MARGIN = 2 * DAY
"""No local time is further from UTC."""
_MOST_EVENTS = 10_000
_MOST_A_DAY = 24
_LONGEST = timedelta(days=366)
_FREQUENCIES = {"DAILY", "WEEKLY", "MONTHLY", "YEARLY"}
_PROBE = datetime(9950, 1, 1)  # noqa: DTZ001  rules are about wall clocks
"""From here a rule has half a century left: what does not happen in it never does."""
_BROKEN = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What the libraries raise on events that make no sense."""
_REMEDY = "Correct the event, or take it out of the calendar."

Component: TypeAlias = Any
"""A calendar or event of `icalendar`: its properties are of a class for each kind of value."""
Span = tuple[Millis, Millis, str]
"""Beginning, end, and who is on call."""


class Stretch(Protocol):
    """What is written as an event."""

    @property
    def person(self) -> str: ...
    @property
    def start(self) -> Millis: ...
    @property
    def end(self) -> Millis: ...
    @property
    def why(self) -> str: ...


def millis_of(moment: datetime, zone: ZoneInfo) -> Millis:
    """A time, or a time on the wall clock of `zone`, as milliseconds.

    As in RFC 5545: a local time that exists twice is the first of them; one that does not exist
    counts with the offset from before the gap (02:30 in an hour that is skipped is 03:30).
    """
    aware = moment if moment.tzinfo else moment.replace(tzinfo=zone)
    return Millis(round(aware.timestamp() * SECOND))


def check(text: str, source: str) -> None:
    """See whether a text is a calendar.

    Raises:
        ValueError: It is not; says why.
    """
    _parsed(text, source)


class People:
    """Whom events mean.

    Args:
        receivers: All there are.
        aliases: Receivers by what events call them.
    """

    def __init__(self, receivers: Sequence[str], aliases: Mapping[str, str]) -> None:
        self._known = {one.casefold(): one for one in receivers}
        self._known |= {called.casefold(): name for called, name in aliases.items()}

    def of(self, event: Component, name_in: str) -> tuple[str, ...]:
        """Receivers that an event names, each once."""
        called = _titles(event) if name_in == "summary" else _attendees(event)
        found = (self._known.get(one.strip().casefold()) for one in called)
        return tuple(dict.fromkeys(one for one in found if one))


class CalendarFile:
    """A calendar that says who is on call.

    Args:
        text: What the file says.
        source: Its name, for messages.
        zone: Whose clock is meant by whole days and times without a time zone.
        people: Whom events mean.
        name_in: `summary` or `attendee`.

    Raises:
        ConfigError: It is no calendar, or has an event that cannot be worked out.
    """

    def __init__(
        self, text: str, *, source: str, zone: ZoneInfo, people: People, name_in: str = "summary"
    ) -> None:
        from recurring_ical_events import of

        self._zone, self._people, self._name_in = zone, people, name_in
        self._source, self._blocks = source, dict[int, list[Span]]()
        self._log = log.get("alerting")
        try:
            calendar = _parsed(text, source)
            first = _keep(calendar, lambda one: people.of(one, name_in))
            self._query = of(calendar)
            if first is not None:
                self._block(millis_of(first, zone) // _BLOCK)
        except _BROKEN as error:
            msg = str(error) if source in str(error) else f"{source}: {error}"
            raise ConfigError(msg, remedy=_REMEDY) from error

    def spans(self, start: Millis, end: Millis) -> list[Span]:
        """Events that overlap `[start, end)`, whole, in order; each once."""
        found: list[Span] = []
        for block in range(start // _BLOCK, -(-end // _BLOCK)):
            if block not in self._blocks:
                self._remember(block)
            found += self._blocks[block]
        return sorted({one for one in found if one[0] < end and start < one[1]})

    def _remember(self, block: int) -> None:
        while len(self._blocks) >= _BLOCKS_KEPT:
            del self._blocks[next(iter(self._blocks))]
        try:
            self._block(block)
        except _BROKEN:
            # Escalation goes on to the next step; that somebody is told counts for more.
            self._log.exception("calendar_unreadable", source=self._source)
            self._blocks[block] = []

    def _block(self, block: int) -> None:
        start, end = Millis(block * _BLOCK), Millis((block + 1) * _BLOCK)
        low, high = to_datetime(Millis(start - _MARGIN)), to_datetime(Millis(end + _MARGIN))
        found: list[Span] = []
        events: list[Component] = self._query.between(low, high)
        for event in events:
            if str(event.get("STATUS", "")).upper() == "CANCELLED":
                continue
            begins, ends = self._at(event["DTSTART"].dt), self._at(event["DTEND"].dt)
            if begins < ends:
                found += [(begins, ends, one) for one in self._people.of(event, self._name_in)]
        self._blocks[block] = found

    def _at(self, given: date | datetime) -> Millis:
        if not isinstance(given, datetime):
            given = datetime.combine(given, time())
        return millis_of(given, self._zone)


def written(name: str, stretches: Sequence[Stretch], stamp: Millis) -> bytes:
    """A calendar with an event for each stretch, in UTC.

    The same stretch has the same UID each time, so that who subscribes sees no copies.

    Args:
        name: Of the schedule; the calendar's title.
        stretches: What it is made of.
        stamp: When it is made.
    """
    from icalendar import Calendar, Event

    from dos.model.ids import derive_id

    calendar = Calendar()
    calendar.add("version", "2.0")
    calendar.add("prodid", f"-//Dependency Ops Sentinel//{__version__}//EN")
    calendar.add("calscale", "GREGORIAN")
    calendar.add("method", "PUBLISH")
    calendar.add("x-wr-calname", f"On call: {name}")
    for one in stretches:
        event = Event()
        event.add("uid", f"{derive_id('onc', name, one.person, one.start, one.why)}@dos")
        event.add("dtstamp", to_datetime(stamp).replace(microsecond=0))
        event.add("dtstart", to_datetime(one.start))
        event.add("dtend", to_datetime(one.end))
        event.add("summary", one.person)
        event.add("description", f"On call in {name} by {one.why}.")
        event.add("transp", "TRANSPARENT")
        calendar.add_component(event)
    return bytes(calendar.to_ical())


def _parsed(text: str, source: str) -> Component:
    """The calendar in a text, with its time zones checked.

    Raises:
        ValueError: There is none.
    """
    from icalendar import Calendar

    try:
        calendar: Component = Calendar.from_ical(text)
        zones = [part for zone in calendar.walk("VTIMEZONE") for part in zone.subcomponents]
    except _BROKEN as error:
        said = str(error).partition("\n")[0]
        msg = f"{source} is not an iCalendar file: {said}"
        raise ValueError(msg) from None
    if calendar.name != "VCALENDAR":
        msg = f"{source} is not an iCalendar file: it does not begin with BEGIN:VCALENDAR"
        raise ValueError(msg)
    for part in zones:
        for rule in _listed(part.get("RRULE")):
            if _first(rule, "FREQ") != "YEARLY" or _first(rule, "INTERVAL", 1) != 1:
                msg = f"{source}: a time zone in it does not change by the year"
                raise ValueError(msg)
    return calendar


def _keep(calendar: Component, names: Any) -> datetime | None:
    """Leave only events that are about people; those of one UID go together.

    Returns:
        When the first of them begins; None without any.

    Raises:
        ValueError: One of them cannot be worked out.
    """
    events = list(calendar.walk("VEVENT"))
    about = {str(one.get("UID")) for one in events if names(one)}
    kept = [one for one in events if str(one.get("UID")) in about]
    if len(kept) > _MOST_EVENTS:
        msg = f"more than {_MOST_EVENTS} events name people"
        raise ValueError(msg)
    for one in kept:
        _check_event(one)
    others = [one for one in calendar.subcomponents if one.name != "VEVENT"]
    calendar.subcomponents = [*others, *kept]
    starts = [one["DTSTART"].dt for one in kept]
    return min((datetime.combine(one, time()) for one in starts), default=None)


def _check_event(event: Component) -> None:
    """Refuse what cannot be worked out, or not in bounded time.

    Raises:
        ValueError: Says what is wrong, and with which event.
    """
    wrong = ""
    begins = getattr(event.get("DTSTART"), "dt", None)
    if event.errors:
        key, said = event.errors[0]
        wrong = f"{key} is wrong: {said}"
    elif not isinstance(begins, date):
        wrong = "there is no time in DTSTART"
    else:
        wrong = _wrong_zone(event) or _wrong_rules(event, begins)
    if wrong:
        msg = f"event {str(event.get('SUMMARY', ''))[:100]!r} at {begins or 'no time'}: {wrong}"
        raise ValueError(msg)


def _wrong_zone(event: Component) -> str:
    for key in ("DTSTART", "DTEND"):
        given = event.get(key)
        zone = getattr(given, "params", {}).get("TZID")
        local = isinstance(getattr(given, "dt", None), datetime) and given.dt.tzinfo is None
        if zone and local:
            return f"the time zone {zone!r} of {key} is not known, nor described in the file"
    return ""


def _wrong_rules(event: Component, begins: date) -> str:
    rules = _listed(event.get("RRULE"))
    if not rules:
        return ""
    if begins.year < 1970:
        return "what repeats has to begin in 1970 or later"
    ends = getattr(event.get("DTEND"), "dt", None)
    if isinstance(ends, date):
        lasts = datetime.combine(ends, time()) - datetime.combine(begins, time())
    else:
        lasts = getattr(event.get("DURATION"), "dt", timedelta())
    if lasts > _LONGEST:
        return "what repeats may not last longer than a year"
    return next((wrong for rule in rules if (wrong := _wrong_rule(rule))), "")


def _wrong_rule(rule: Mapping[str, Sequence[Any]]) -> str:
    from dateutil.rrule import rrulestr
    from icalendar import vRecur

    frequency = _first(rule, "FREQ")
    if frequency not in _FREQUENCIES:
        return f"FREQ={frequency} is too often; DAILY is as often as it may be, BYHOUR lists hours"
    if _first(rule, "INTERVAL", 1) < 1:
        return "INTERVAL has to be 1 or more"
    times = 1
    for key in ("BYHOUR", "BYMINUTE", "BYSECOND"):
        times *= max(1, len(_listed(rule.get(key))))
    if times > _MOST_A_DAY:
        return f"it would begin {times} times a day; {_MOST_A_DAY} is the most"
    parts = {key: value for key, value in rule.items() if key not in {"UNTIL", "COUNT", "INTERVAL"}}
    whole: Any = vRecur(parts)
    text = whole.to_ical().decode()
    if next(iter(rrulestr(text, dtstart=_PROBE)), None) is None:
        return f"{text} never happens"
    return ""


def _titles(event: Component) -> Iterator[str]:
    title = str(event.get("SUMMARY", ""))
    yield title
    yield from title.split(",")


def _attendees(event: Component) -> Iterator[str]:
    for one in _listed(event.get("ATTENDEE")):
        if one.params.get("PARTSTAT", "").upper() != "DECLINED":
            yield str(one).removeprefix("mailto:").removeprefix("MAILTO:")
            yield one.params.get("CN", "")


def _listed(value: Any) -> list[Any]:
    """What may be there once, several times, or not."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _first(rule: Mapping[str, Any], key: str, default: Any = None) -> Any:
    found = _listed(rule.get(key))
    return found[0] if found else default
