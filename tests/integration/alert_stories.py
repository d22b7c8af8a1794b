"""Timelines of alerts, as they are played into the real Alertmanager and into DOS.

A story has a route of its own below the root, so that all of them run side by side in one
Alertmanager. Times are seconds since the story's begin; groups look every `INTERVAL` seconds after
their first notification, and what happens is put between those looks, never on them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

WAIT, INTERVAL, REPEAT, TIMEOUT = 1.0, 3.0, 8.0, 5.0
"""`group_wait`, `group_interval`, `repeat_interval`, and `resolve_timeout`, s."""


@dataclass(frozen=True)
class Fire:
    """An alert is sent that lasts until it is ended, or `lasts` seconds."""

    at: float
    name: str
    labels: dict[str, str] = field(default_factory=dict)
    lasts: float = 600.0
    began: float = 0.0
    """Seconds before it is sent."""
    open_end: bool = False
    """Sent without an end: it is over `TIMEOUT` after it was last sent."""


@dataclass(frozen=True)
class End:
    """The same alert is sent with an end."""

    at: float
    name: str
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Hush:
    """A silence, over after `lasts` seconds."""

    at: float
    match: str
    lasts: float


@dataclass(frozen=True)
class Story:
    """What happens, and what DOS does better."""

    name: str
    happens: tuple[Fire | End | Hush, ...]
    route: dict[str, Any] = field(default_factory=dict)
    inhibit: dict[str, Any] | None = None
    more: tuple[tuple[str, str], ...] = ()
    """Group and alert that only DOS tells to be over."""


ALL = {"group_by": ["..."]}
NEVER = [{"months": ["january", "february"], "years": ["2020"]}]
ALWAYS = [{"times": [{"start_time": "00:00", "end_time": "24:00"}]}]
INTERVALS = [
    {"name": "never", "time_intervals": NEVER},
    {"name": "always", "time_intervals": ALWAYS},
]
DOWN = {"source_matchers": ['kind="down"'], "target_matchers": ['kind="slow"']}


def _resent(name: str, first: float, last: float, every: float = 2.0) -> tuple[Fire, ...]:
    times = [first + every * n for n in range(int((last - first) / every) + 1)]
    return tuple(Fire(at, name, open_end=True) for at in times)


STORIES = (
    Story("one", (Fire(0.5, "a"),)),
    Story("one that ends", (Fire(0.5, "a"), End(6.0, "a"))),
    Story("over before anybody was told", (Fire(0.5, "a"), End(0.9, "a"))),
    Story("two in one group", (Fire(0.5, "a"), Fire(0.8, "b"))),
    Story("a second one later", (Fire(0.5, "a"), Fire(3.0, "b"))),
    Story("a second one much later", (Fire(0.5, "a"), Fire(9.0, "b"))),
    Story("one of two ends", (Fire(0.5, "a"), Fire(0.6, "b"), End(3.0, "a"))),
    Story("both end, one by one", (Fire(0.5, "a"), Fire(0.6, "b"), End(3.0, "a"), End(6.0, "b"))),
    Story("both end at once", (Fire(0.5, "a"), Fire(0.6, "b"), End(3.0, "a"), End(3.1, "b"))),
    Story("comes back", (Fire(0.5, "a"), End(3.0, "a"), Fire(9.0, "a"))),
    Story("flaps within an interval", (Fire(0.5, "a"), End(5.2, "a"), Fire(6.2, "a"))),
    Story("alone by all labels", (Fire(0.5, "a"), Fire(0.6, "b")), ALL),
    Story(
        "two groups",
        (
            Fire(0.5, "a", {"zone": "x"}),
            Fire(0.6, "b", {"zone": "y"}),
            Fire(3.0, "c", {"zone": "x"}),
        ),
        {"group_by": ["zone"]},
    ),
    Story(
        "a label that groups is missing",
        (Fire(0.5, "a", {"zone": "x"}), Fire(0.6, "b")),
        {"group_by": ["zone"]},
    ),
    Story("long ago", (Fire(0.5, "a", began=60.0),)),
    Story("long ago beside new", (Fire(0.5, "a"), Fire(0.7, "b", began=60.0))),
    Story("sent again and again", _resent("a", 0.5, 20.5)),
    Story("no longer sent", _resent("a", 0.5, 2.5)),
    Story("ends by itself", (Fire(0.5, "a", lasts=4.6),)),
    Story("end put off", (Fire(0.5, "a", lasts=4.6), Fire(3.0, "a", lasts=9.6))),
    Story("silenced from the start", (Hush(0.1, 'alertname="a"', 60), Fire(0.5, "a"))),
    Story("silenced until later", (Hush(0.1, 'alertname="a"', 5.9), Fire(0.5, "a"))),
    Story("another one is silenced", (Hush(0.1, 'alertname="b"', 60), Fire(0.5, "a"))),
    Story(
        "one of two is silenced",
        (Hush(0.1, 'alertname=~"b|c"', 60), Fire(0.5, "a"), Fire(0.6, "b"), End(6.0, "a")),
    ),
    Story(
        "silenced after it was told, and over",
        (Fire(0.5, "a"), Hush(3.0, 'alertname="a"', 60), End(6.0, "a")),
        more=(("", "a"),),
    ),
    Story(
        "silenced when it was told, and still firing after",
        (Fire(0.5, "a"), Hush(3.0, 'alertname="a"', 3.0)),
    ),
    Story(
        "inhibited",
        (Fire(0.4, "d", {"kind": "down"}), Fire(0.5, "s", {"kind": "slow"})),
        {"group_by": ["kind"]},
        DOWN,
    ),
    Story(
        "inhibited until the other is over",
        (
            Fire(0.4, "d", {"kind": "down"}),
            Fire(0.5, "s", {"kind": "slow"}),
            End(6.0, "d", {"kind": "down"}),
        ),
        {"group_by": ["kind"]},
        DOWN,
    ),
    Story(
        "inhibited in the same place only",
        (
            Fire(0.4, "d", {"kind": "down", "zone": "x"}),
            Fire(0.5, "s", {"kind": "slow", "zone": "x"}),
            Fire(0.6, "s", {"kind": "slow", "zone": "y"}),
        ),
        {"group_by": ["kind", "zone"]},
        {**DOWN, "equal": ["zone"]},
    ),
    Story(
        "inhibited after it was told, and over",
        (
            Fire(0.5, "s", {"kind": "slow"}),
            Fire(3.0, "d", {"kind": "down"}),
            End(6.0, "s", {"kind": "slow"}),
        ),
        {"group_by": ["kind"]},
        DOWN,
        more=(("kind=slow", "s"),),
    ),
    Story(
        "nobody inhibits itself",
        (Fire(0.5, "s", {"kind": "both"}),),
        inhibit={"source_matchers": ['kind="both"'], "target_matchers": ['kind="both"']},
    ),
    Story("muted", (Fire(0.5, "a"),), {"mute_time_intervals": ["always"]}),
    Story("muted at other times", (Fire(0.5, "a"),), {"mute_time_intervals": ["never"]}),
    Story("active at other times", (Fire(0.5, "a"),), {"active_time_intervals": ["never"]}),
    Story("active now", (Fire(0.5, "a"), End(6.0, "a")), {"active_time_intervals": ["always"]}),
    Story(
        "a route for the urgent",
        (Fire(0.5, "a", {"urgent": "yes"}), Fire(0.6, "b")),
        {"routes": [{"matchers": ['urgent="yes"'], "group_by": ["urgent"]}]},
    ),
    Story(
        "two routes at once",
        (Fire(0.5, "a", {"urgent": "yes"}),),
        {
            "routes": [
                {"matchers": ['urgent="yes"'], "group_by": ["urgent"], "continue": True},
                {"matchers": ['urgent=~"y.*"'], "group_by": ["alertname"]},
            ]
        },
    ),
)
