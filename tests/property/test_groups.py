"""Groups of alerts under arbitrary timelines: what is promised about notifications holds."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from dos.alerting.groups import Groups, KeptGroups, Message
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
KEPT = TypeAdapter(KeptGroups)
Action = tuple[str, str, str, int]
OTHER = Route(
    receiver="nobody",
    routes=(
        Route(
            receiver="pager",
            group_by=frozenset({"alertname"}),
            group_wait=1,
            group_interval=4,
            repeat_interval=30,
            path="{}/all",
            goes_on=True,
        ),
        Route(receiver="mail", group_wait=0, group_interval=3, path="{}/mail"),
    ),
)
"""Another configuration: one receiver is gone, one is new, and one has other groups."""
ACTIONS = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from(("fire", "fire", "fire", "end", "silence", "jump", "reload")),
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
        self.tree = TREE
        self.groups = self.fresh()
        self.now = Millis(1_800_000_000_000)
        self.told: dict[tuple[str, str, str, str], bool] = {}
        """Receiver, group, alert and zone: whether the receiver takes it for firing."""
        self.fires: dict[tuple[str, str], bool] = {}

    def fresh(self) -> Groups:
        return Groups(
            self.tree,
            inhibit=(RULE,),
            silenced=lambda labels, at: self.silences.by(labels, at) is not None,
            resolve_timeout=30,
        )

    def restart(self) -> None:
        """What was written down is read again, perhaps under another configuration."""
        kept = KEPT.validate_json(KEPT.dump_json(self.groups.dump()))
        self.groups = self.fresh()
        self.groups.load(kept, self.now)

    def act(self, action: Action) -> None:
        kind, name, zone, amount = action
        if kind == "reload":
            self.tree = OTHER if self.tree is TREE and amount % 2 else TREE
            self.restart()
            return
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

    def takes_for_firing(self, receiver: str, name: str, zone: str) -> bool:
        return any(
            known and (who, alert, where) == (receiver, name, zone)
            for (who, _, alert, where), known in self.told.items()
        )

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
            self.told[message.receiver, message.key, *key] = True
        for one in message.resolved:
            labels = dict(one.labels)
            key = (labels["alertname"], labels["zone"])
            assert not self.fires[key]
            assert self.told[
                message.receiver, message.key, *key
            ]  # nobody hears the end of what he never heard
            self.told[message.receiver, message.key, *key] = False


@settings(max_examples=4000, deadline=None)
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


@settings(max_examples=3000, deadline=None)
@given(ACTIONS)
def test_the_root_is_told_unless_somebody_silenced_it(actions: list[list[Action]]) -> None:
    timeline = Timeline()
    for some in actions:
        for action in some:
            timeline.act(action)
        timeline.step()
    timeline.tree = TREE
    timeline.restart()
    timeline.act(("jump", "root", "x", 40))
    timeline.act(("fire", "root", "x", 1))
    for _ in range(12):
        timeline.step()
    assert timeline.takes_for_firing("pager", "root", "x")
    assert timeline.takes_for_firing("chat", "root", "x")


@settings(max_examples=3000, deadline=None)
@given(ACTIONS)
def test_restarts_after_every_second_change_nothing(actions: list[list[Action]]) -> None:
    one, other = Timeline(), Timeline()
    for some in actions:
        for action in some:
            if action[0] != "reload":
                one.act(action)
                other.act(action)
        other.restart()
        assert KEPT.dump_json(one.groups.dump()) == KEPT.dump_json(other.groups.dump())
        one.step()
        other.step()
    assert one.told == other.told
