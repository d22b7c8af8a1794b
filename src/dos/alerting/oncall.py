"""Who is on call: rotations, overrides and calendars, worked out for any time.

    layers  <  calendars  <  overrides        the further right, the more it counts

Everything is a function of the configuration and the time that is asked about; nothing here reads
a clock, so that a replay tells the same people.

Local times: a handover at 09:00 is at 09:00 on both sides of a change of daylight saving, where
turns are whole days. A local time that exists twice is the first of them, and one that is skipped
counts with the offset from before the gap (`dos.alerting.ical.millis_of`), as in RFC 5545.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from zoneinfo import ZoneInfo

from dos.alerting.ical import CalendarFile, People, millis_of
from dos.alerting.oncall_config import HoursConfig, LayerConfig, ScheduleConfig
from dos.alerting.timeinterval import minutes_of_day, weekday_range
from dos.kit.clock import DAY, SECOND, Millis, to_datetime
from dos.kit.errors import ConfigError

_LAST = Millis(round(datetime(9000, 1, 1, tzinfo=ZoneInfo("UTC")).timestamp() * SECOND))
"""Nobody is on call after this: what a `datetime` can hold ends soon after."""
_LOOK = 32 * DAY
"""How far is looked at least, back for a shift's beginning and ahead for its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """A stretch of time in which somebody is on call."""

    person: str
    """Name of the receiver."""
    start: Millis
    end: Millis
    """The first moment that no longer belongs to it."""
    why: str
    """The layer, `override`, or the calendar."""


class _Layer:
    """People who take turns."""

    def __init__(self, config: LayerConfig, number: int, zone: ZoneInfo) -> None:
        self.why = config.name or f"layer {number}"
        self.length = round(config.every * SECOND)
        self._people = config.people
        self._start = config.start
        self._whole_days = self.length % DAY == 0
        self._times = config.times
        self._zone = zone

    def shifts(self, start: Millis, end: Millis) -> Iterator[Shift]:
        """Those that overlap the time, whole, in order."""
        number = self._turn(start)
        begins = self._boundary(number)
        while begins < end:
            ends = self._boundary(number + 1)
            person = self._people[number % len(self._people)]
            if start < ends:
                low, high = max(start, begins), min(end, ends)
                for one in self._hours(low, high) if self._times else [(begins, ends)]:
                    first, last = max(begins, one[0]), min(ends, one[1])
                    if first < last:
                        yield Shift(
                            person=person, start=Millis(first), end=Millis(last), why=self.why
                        )
            number, begins = number + 1, ends

    def _turn(self, at: Millis) -> int:
        """Number of a turn that begins not after `at`, and not long before; at least 0."""
        if self._whole_days:
            local = to_datetime(at).astimezone(self._zone).replace(tzinfo=None)
            passed = (local - self._start) // timedelta(milliseconds=self.length)
        else:
            passed = (at - millis_of(self._start, self._zone)) // self.length
        return max(0, passed - 1)

    def _boundary(self, number: int) -> Millis:
        """When a turn begins."""
        if self._whole_days:
            passed = timedelta(milliseconds=self.length * number)
            return millis_of(self._start + passed, self._zone)
        return Millis(millis_of(self._start, self._zone) + number * self.length)

    def _hours(self, start: Millis, end: Millis) -> list[tuple[int, int]]:
        """Stretches of the restrictions that overlap the time, joined where they meet."""
        day = to_datetime(Millis(max(0, start - 3 * DAY))).astimezone(self._zone)
        midnight = day.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
        found: list[tuple[int, int]] = []
        while millis_of(midnight, self._zone) < end:
            found += [self._stretch(one, midnight) for one in self._times if _on(one, midnight)]
            midnight += timedelta(days=1)
        joined: list[tuple[int, int]] = []
        for first, last in sorted(found):
            if joined and first <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
            elif first < last:
                joined.append((first, last))
        return [one for one in joined if one[0] < end and start < one[1]]

    def _stretch(self, hours: HoursConfig, midnight: datetime) -> tuple[int, int]:
        first, last = minutes_of_day(hours.start_time), minutes_of_day(hours.end_time)
        if last <= first:
            last += DAY // (60 * SECOND)
        return (
            millis_of(midnight + timedelta(minutes=first), self._zone),
            millis_of(midnight + timedelta(minutes=last), self._zone),
        )


def _on(hours: HoursConfig, day: datetime) -> bool:
    number = (day.weekday() + 1) % 7
    ranges = map(weekday_range, hours.weekdays)
    return not hours.weekdays or any(first <= number <= last for first, last in ranges)


class Schedule:
    """Says who is on call.

    Args:
        config: The schedule.
        receivers: Names of all receivers there are.

    Raises:
        ConfigError: It names a receiver that there is not, or a calendar cannot be worked out.
    """

    def __init__(self, config: ScheduleConfig, receivers: Collection[str]) -> None:
        self.name = config.name
        self.zone = ZoneInfo(config.time_zone)
        _refuse_strangers(config, receivers)
        self._layers = [
            _Layer(one, number, self.zone) for number, one in enumerate(config.layers, start=1)
        ]
        self._calendars = [
            (
                f"calendar {one.file.name}" if one.file else f"calendar {number}",
                CalendarFile(
                    one.text,
                    source=f"alerting.schedules: {config.name}: {one.file or 'a calendar'}",
                    zone=self.zone,
                    people=People(tuple(receivers), one.people),
                    name_in=one.name_in,
                ),
            )
            for number, one in enumerate(config.calendars, start=1)
        ]
        self._overrides = [
            Shift(
                person=one.person,
                start=millis_of(one.start, self.zone),
                end=millis_of(one.end, self.zone),
                why="override",
            )
            for one in config.overrides
        ]
        self._look = max([_LOOK, *(one.length + 2 * DAY for one in self._layers)])

    def on_call(self, at: Millis) -> tuple[str, ...]:
        """Who is on call at a time; more than one only where a calendar says so."""
        return tuple(one.person for one in self.shifts(at, Millis(at + 1)))

    def reason(self, shift: Shift) -> str:
        """Why somebody is told, for people."""
        until = to_datetime(shift.end).astimezone(self.zone).isoformat(timespec="minutes")
        return f"on call in {self.name} until {until} ({shift.why})"

    def current(self, at: Millis) -> list[Shift]:
        """The shifts that `at` is in, from their beginning to their end."""
        around = self._within(at - self._look, at + self._look)
        return [one for one in around if one.start <= at < one.end]

    def shifts(self, start: Millis, end: Millis, *, whole: bool = False) -> list[Shift]:
        """Who is on call from `start` to `end`, in order of time.

        No moment has two shifts, but where a calendar has several events at once. A shift is a
        turn, or an event, or what is left of it: somebody who follows on himself has two.

        Args:
            start: From when.
            end: Until when.
            whole: Whether the first and the last one are to keep the parts that lie outside.
        """
        if not whole:
            return self._within(start, end)
        around = self._within(start - self._look, end + self._look)
        return [one for one in around if one.start < end and start < one.end]

    def _within(self, start: int, end: int) -> list[Shift]:
        low, high = Millis(max(0, start)), Millis(min(_LAST, end))
        if high <= low:
            return []
        taken = _Taken()
        found: list[Shift] = []
        for level in self._levels(low, high):
            free = [part for one in level for part in taken.rest(one, low, high)]
            taken.take(free)
            found += free
        return sorted(found, key=lambda one: (one.start, one.person, one.end))

    def _levels(self, start: Millis, end: Millis) -> Iterator[Sequence[Shift]]:
        """Shifts by what they come from; what counts most comes first."""
        for one in reversed(self._overrides):
            if one.start < end and start < one.end:
                yield [one]
        for why, calendar in reversed(self._calendars):
            yield _joined(
                Shift(person=person, start=first, end=last, why=why)
                for first, last, person in calendar.spans(start, end)
            )
        for layer in reversed(self._layers):
            yield list(layer.shifts(start, end))


class _Taken:
    """Time for which it is settled who is on call: stretches in order that do not touch."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def rest(self, shift: Shift, start: Millis, end: Millis) -> Iterator[Shift]:
        """The parts of a shift that lie in `[start, end)` and are not taken."""
        at, last = max(start, shift.start), min(end, shift.end)
        index = bisect_right(self._ends, at)
        while at < last:
            begins = self._starts[index] if index < len(self._starts) else last
            if at < begins:
                yield Shift(
                    person=shift.person,
                    start=Millis(at),
                    end=Millis(min(begins, last)),
                    why=shift.why,
                )
            if begins >= last:
                return
            at, index = Millis(self._ends[index]), index + 1

    def take(self, shifts: Sequence[Shift]) -> None:
        """From now on their time is taken."""
        known = zip(self._starts, self._ends, strict=True)
        spans = sorted(chain(known, ((one.start, one.end) for one in shifts)))
        self._starts, self._ends = [], []
        for start, end in spans:
            if self._ends and start <= self._ends[-1]:
                self._ends[-1] = max(end, self._ends[-1])
            else:
                self._starts.append(start)
                self._ends.append(end)


def _joined(shifts: Iterator[Shift]) -> list[Shift]:
    """Shifts of one person that overlap, as one."""
    found: list[Shift] = []
    latest: dict[str, int] = {}
    for one in shifts:
        index = latest.get(one.person)
        if index is not None and one.start < found[index].end:
            last = found[index]
            found[index] = Shift(
                person=one.person,
                start=last.start,
                end=max(last.end, one.end),
                why=one.why,
            )
        else:
            latest[one.person] = len(found)
            found.append(one)
    return found


def _refuse_strangers(config: ScheduleConfig, receivers: Collection[str]) -> None:
    named = chain(
        (one for layer in config.layers for one in layer.people),
        (one.person for one in config.overrides),
        (one for calendar in config.calendars for one in calendar.people.values()),
    )
    for name in named:
        if name not in receivers:
            msg = f"alerting.schedules: {config.name}: there is no receiver {name!r}"
            raise ConfigError(msg, remedy="Add it to `alerting.receivers`.")
