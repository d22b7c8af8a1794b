"""Alerts that come and go: at most four notifications an hour, and none without its end."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from dos.alerting.groups import Groups, KeptGroups, Message
from dos.alerting.routes import Route
from dos.kit.clock import HOUR, MINUTE, SECOND, Millis
from dos.model.alert import PostedAlert

START = Millis(1_800_000_000_000)
CALM = 300.0
KEPT = TypeAdapter(KeptGroups)
LABELS = (("alertname", "Flaps"),)


class Flapping:
    """One group for one alert, looked at each second; written down and read now and then."""

    def __init__(self, wait: float, interval: float, restart: int) -> None:
        self.route = Route(receiver="pager", group_wait=wait, group_interval=interval)
        self.restart = restart
        self.groups = self.fresh()
        self.now = START
        self.told: list[Message] = []

    def fresh(self) -> Groups:
        return Groups(self.route, flap_calm=CALM)

    def post(self, *, fires: bool) -> None:
        ends = None if fires else self.now
        alert = PostedAlert(labels=LABELS, starts_at=self.now, ends_at=ends, updated_at=self.now)
        self.groups.take([alert], self.now)

    def second(self) -> None:
        self.told += self.groups.tick(self.now)
        self.now = Millis(self.now + SECOND)
        if self.restart and self.now // SECOND % self.restart == 0:
            kept = KEPT.validate_json(KEPT.dump_json(self.groups.dump()))
            self.groups = self.fresh()
            self.groups.load(kept, self.now)

    def calm(self, seconds: float) -> None:
        end = self.now + seconds * SECOND
        while self.now < end:
            self.second()


WAITS, INTERVALS = st.integers(0, 60), st.integers(1, 900)
RESTARTS = st.sampled_from((0, 7, 61))


@settings(max_examples=150, deadline=None)
@given(WAITS, INTERVALS, st.integers(1, 9), RESTARTS)
def test_every_ten_seconds_for_an_hour_is_at_most_four_notifications(
    wait: int, interval: int, fires_for: int, restart: int
) -> None:
    play = Flapping(wait, interval, restart)
    while play.now < START + HOUR:
        play.post(fires=True)
        play.calm(fires_for)
        play.post(fires=False)
        play.calm(10 - fires_for)
    play.calm(CALM + 2 * interval + wait)
    assert len(play.told) <= 4
    assert [bool(one.resolved) for one in play.told] == [False, True] * (len(play.told) // 2)
    assert play.groups.next_due is None
    # An hour of quiet later it is an alert like any other again: its end is told at once.
    play.calm(CALM)
    before = len(play.told)
    play.post(fires=True)
    play.calm(wait + 2)
    play.post(fires=False)
    play.calm(interval + 2)
    assert len(play.told) == before + 2


@settings(max_examples=300, deadline=None)
@given(
    WAITS,
    INTERVALS,
    st.lists(st.tuples(st.integers(1, 400), st.integers(1, 400)), min_size=1, max_size=12),
    RESTARTS,
)
def test_however_it_flaps_what_was_told_gets_its_end(
    wait: int, interval: int, times: list[tuple[int, int]], restart: int
) -> None:
    play = Flapping(wait, interval, restart)
    for fires, quiet in times:
        play.post(fires=True)
        play.calm(fires)
        play.post(fires=False)
        play.calm(quiet)
    play.calm(CALM + 2 * interval + wait)
    states = [bool(one.resolved) for one in play.told]
    assert states == [False, True] * (len(states) // 2)  # never twice the same, and over at last
    assert play.groups.next_due is None


def test_one_that_is_steady_is_told_at_once_that_it_is_over() -> None:
    play = Flapping(0, 10, 0)
    play.post(fires=True)
    play.calm(20 * MINUTE / SECOND / 10)
    play.post(fires=False)
    over = play.now
    play.calm(20)
    assert [bool(one.resolved) for one in play.told] == [False, True]
    assert play.told[-1].at - over <= 10 * SECOND
