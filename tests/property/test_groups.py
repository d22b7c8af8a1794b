"""Groups of alerts under arbitrary timelines: what is promised about notifications holds."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from dos.alerting.groups import Groups, Message
from dos.alerting.inhibition import InhibitRule
from dos.alerting.routes import Route
from dos.alerting.silences import Silences
from dos.kit.clock import SECOND, Millis
from dos.model.alert import PostedAlert
from dos.model.matchers import parse_matchers
from dos.model.silence import Silence

NAMES = ("root", "a", "b", "c")
TREE = Route(
    receiver="nobody",
    routes=(
        Route(
            receiver="pager",
            group_by=frozenset({"zone"}),
            group_wait=2,
            group_interval=5,
            repeat_interval=20,
            matchers=parse_matchers('alertname!="c"'),
            goes_on=True,
            path="{}/pager",
        ),
        Route(
            receiver="chat",
            group_wait=0,
            group_interval=3,
            repeat_interval=50,
            path="{}/chat",
        ),
    ),
)
RULE = InhibitRule(
    source=parse_matchers('alertname="root"'),
    target=parse_matchers('alertname=~"a|b"'),
    equal=("zone",),
)
Action = tuple[str, str, str, int]
ACTIONS = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from(("fire", "fire", "end", "silence", "jump")),
            st.sampled_from(NAMES),
            st.sampled_from(("x", "y")),
            st.integers(1, 40),
        ),
        max_size=3,
    ),
    min_size=1,
    max_size=40,
)


class Timeline:
    """Plays actions, a second each, and remembers what receivers were told."""

    def __init__(self) -> None:
        self.silences = Silences()
        self.groups = Groups(
            TREE,
            inhibit=(RULE,),
            silenced=lambda labels, at: self.silences.by(labels, at) is not None,
            resolve_timeout=30,
        )
        self.now = Millis(1_800_000_000_000)
        self.told: dict[tuple[str, str, str], bool] = {}
        """Receiver, alert and zone: whether the receiver takes it for firing."""
        self.fires: dict[tuple[str, str], bool] = {}

    def act(self, action: Action) -> None:
        kind, name, zone, amount = action
        labels = (("alertname", name), ("zone", zone))
        if kind == "silence":
            silence = Silence(
                matchers=parse_matchers(f"alertname={name},zone={zone}"),
                starts_at=self.now,
                ends_at=Millis(self.now + amount * SECOND),
                created_by="ann",
                comment="",
                updated_at=self.now,
            )
            for one in self.silences.plan(silence, self.now):
                self.silences.put(one)
        elif kind == "jump":
            self.now = Millis(self.now + amount * SECOND)
        else:
            ends = self.now if kind == "end" else Millis(self.now + 10_000 * SECOND)
            began = Millis(self.now - SECOND)
            live = PostedAlert(labels=labels, starts_at=began, ends_at=ends, updated_at=self.now)
            self.groups.take([live], self.now)
            self.fires[name, zone] = kind == "fire"

    def step(self) -> None:
        self.now = Millis(self.now + SECOND)
        for message in self.groups.tick(self.now):
            self.check(message)

    def check(self, message: Message) -> None:
        assert message.firing or message.resolved
        for one in message.firing:
            labels = dict(one.labels)
            key = (labels["alertname"], labels["zone"])
            assert self.fires[key]
            assert self.silences.by(labels, self.now) is None
            root = self.fires.get(("root", labels["zone"]), False)
            assert not (labels["alertname"] in {"a", "b"} and root)
            self.told[message.receiver, *key] = True
        for one in message.resolved:
            labels = dict(one.labels)
            key = (labels["alertname"], labels["zone"])
            assert not self.fires[key]
            assert self.told[message.receiver, *key]  # nobody hears the end of what he never heard
            self.told[message.receiver, *key] = False


@settings(max_examples=500, deadline=None)
@given(ACTIONS)
def test_what_was_told_is_resolved_and_what_is_held_back_is_not_told(
    actions: list[list[Action]],
) -> None:
    timeline = Timeline()
    for some in actions:
        for action in some:
            timeline.act(action)
        timeline.step()
    for name, zone in list(timeline.fires):
        if timeline.fires[name, zone]:
            timeline.act(("end", name, zone, 1))
        timeline.step()
    for _ in range(12):
        timeline.step()
    assert not any(timeline.told.values())
    assert timeline.groups.next_due is None  # nothing is kept of what is over


@settings(max_examples=300, deadline=None)
@given(ACTIONS)
def test_the_root_is_told_unless_somebody_silenced_it(actions: list[list[Action]]) -> None:
    timeline = Timeline()
    for some in actions:
        for action in some:
            timeline.act(action)
        timeline.step()
    timeline.act(("jump", "root", "x", 40))
    timeline.act(("fire", "root", "x", 1))
    for _ in range(12):
        timeline.step()
    assert timeline.told["pager", "root", "x"]
    assert timeline.told["chat", "root", "x"]
