"""Evaluates alerting rules by a server's query API, and posts their alerts.

What Prometheus does by itself, for servers whose rules nobody may change, or that have none. Times
follow Prometheus: an alert is pending until its expression has had the series `for` a while, and
goes on `keep_firing_for` after the last time. It is posted at each evaluation, with an end in the
future that comes true if DOS or the server is gone.

After a restart nothing is known of what was pending: the first evaluation therefore asks for the
past `for` of the expression too, so that an alert that was firing goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

import numpy as np

from dos.ingest.promql.api import PrometheusApi, QueryError
from dos.ingest.promql.ask import ask_all
from dos.ingest.promql.columns import Answer
from dos.ingest.promql.rule_file import Group, Rule
from dos.ingest.promql.rule_text import Text
from dos.kit.clock import MINUTE, SECOND, Millis
from dos.kit.errors import DosError
from dos.model.alert import LabelPairs, PostedAlert

_HOLDS = 4
"""An alert that is not posted again for so many evaluations is over, as Prometheus has it."""
_NAME = "__name__"


@dataclass(slots=True, kw_only=True)
class _Active:
    """A series of an expression, from the first time on."""

    labels: LabelPairs
    annotations: LabelPairs
    since: Millis
    seen: Millis
    fires: bool = False


@dataclass(slots=True)
class _Evaluated:
    """A rule and what is active of it."""

    group: Group
    rule: Rule
    labels: Mapping[str, Text] = field(default_factory=dict)
    annotations: Mapping[str, Text] = field(default_factory=dict)
    active: dict[LabelPairs, _Active] = field(default_factory=dict)
    known: bool = False
    """Whether it was evaluated before."""

    @property
    def title(self) -> str:
        return f"rule {self.group.name}/{self.rule.alert}"


class RuleEvaluator:
    """Follows the alerting rules of some groups. Reads no clock.

    Args:
        groups: As they were read; recording rules in them are not looked at.
        url: Of the server, for links.
    """

    def __init__(self, groups: Sequence[Group], url: str) -> None:
        self._url = url
        self._due: dict[int, int] = {}
        """By place of a group: when it is to be evaluated next."""
        self._groups = [
            [_prepared(group, rule) for rule in group.rules if rule.alert] for group in groups
        ]
        self._intervals = [max(SECOND, round(one.interval * SECOND)) for one in groups]
        self.problems: tuple[str, ...] = ()
        """What could not be evaluated the last time, one sentence each."""
        self._failing: dict[str, str] = {}

    async def evaluate(
        self, api: PrometheusApi, at: Millis, concurrency: int
    ) -> tuple[PostedAlert, ...]:
        """Evaluate the groups that are due at `at`.

        What fails is in `problems`, and is tried again the next time; what fires goes on.

        Returns:
            The alerts that go on, and those that are over.
        """
        places = [place for place in range(len(self._groups)) if at >= self._due.get(place, 0)]
        due = [one for place in places for one in self._groups[place]]

        async def ask(one: _Evaluated) -> Answer:
            return await self._ask(api, one, at)

        try:
            replies = await ask_all(due, ask, concurrency)
        except DosError as error:
            self.problems = (f"The rules were not evaluated: {error}",)
            return ()
        for place in places:
            interval = self._intervals[place]
            self._due[place] = at // interval * interval + interval
        alerts: list[PostedAlert] = []
        for one in due:
            self._failing.pop(one.title, None)
        for one, failure in replies.failures:
            self._failing[one.title] = str(failure)
        for one, answer in replies.answers:
            try:
                self._follow(one, answer, at)
            except QueryError as error:
                self._failing[one.title] = str(error)
                continue
            alerts += self._posted(one, at)
        self.problems = tuple(self._failing[title] for title in sorted(self._failing))
        return tuple(alerts)

    async def _ask(self, api: PrometheusApi, one: _Evaluated, at: Millis) -> Answer:
        asked = Millis(at - round(one.group.query_offset * SECOND))
        if one.known or not one.rule.for_:
            return await api.query(one.title, one.rule.expr, asked)
        step = max(SECOND, round(one.group.interval * SECOND))
        back = -(-round(one.rule.for_ * SECOND) // step) * step
        return await api.query_range(
            one.title, one.rule.expr, Millis(asked - back), asked, Millis(step)
        )

    def _follow(self, one: _Evaluated, answer: Answer, at: Millis) -> None:
        """Take in which series the expression has, and since when."""
        rule, offset = one.rule, round(one.group.query_offset * SECOND)
        step = max(SECOND, round(one.group.interval * SECOND))
        newest = int(at) - offset
        found: dict[LabelPairs, _Active] = {}
        for which, labels in enumerate(answer.labels):
            rows = np.flatnonzero(answer.which == which)
            times = answer.at[rows]
            if not len(times) or int(times[-1]) != newest:
                continue
            # Of the past, only what leads up to now without a gap.
            gaps = np.flatnonzero(np.diff(times) > step)
            since = int(times[gaps[-1] + 1] if len(gaps) else times[0]) + offset
            value = float(answer.value[rows[-1]])
            said = _alert(one, labels, value, Millis(since), at)
            if said.labels in found:
                msg = f"{one.title}: two series have the same labels, {dict(said.labels)}."
                raise QueryError(msg, remedy="Aggregate in the expression, or set fewer labels.")
            found[said.labels] = said
        if one.group.limit and len(found) > one.group.limit:
            msg = f"{one.title}: {len(found)} alerts; the group's limit is {one.group.limit}."
            raise QueryError(msg, remedy="Aggregate in the expression, or raise the limit.")
        one.known = True
        for key, said in found.items():
            before = one.active.setdefault(key, said)
            before.annotations, before.seen = said.annotations, at
            before.fires = before.fires or at - before.since >= rule.for_ * SECOND

    def _posted(self, one: _Evaluated, at: Millis) -> list[PostedAlert]:
        """What is told of a rule now."""
        alerts: list[PostedAlert] = []
        holds = _HOLDS * max(MINUTE, round(one.group.interval * SECOND))
        for labels, active in list(one.active.items()):
            gone = at - active.seen
            if gone and not (active.fires and gone < one.rule.keep_firing_for * SECOND):
                del one.active[labels]
            if active.fires:
                ends = at + holds if labels in one.active else at
                link = f"{self._url}/graph?g0.expr={quote(one.rule.expr)}&g0.tab=1"
                alerts.append(
                    PostedAlert(
                        labels=labels,
                        annotations=active.annotations,
                        starts_at=active.since,
                        ends_at=Millis(ends),
                        updated_at=at,
                        generator_url=link[:2000],
                    )
                )
        return alerts


def _prepared(group: Group, rule: Rule) -> _Evaluated:
    labels = {**group.labels, **rule.labels}
    return _Evaluated(
        group,
        rule,
        labels={name: Text.of(text) for name, text in labels.items()},
        annotations={name: Text.of(text) for name, text in rule.annotations.items()},
    )


def _alert(
    one: _Evaluated, series: Mapping[str, str], value: float, since: Millis, at: Millis
) -> _Active:
    own = {name: text.fill(series, value) for name, text in one.labels.items()}
    plain = {name: text for name, text in series.items() if name != _NAME}
    annotations = {name: text.fill(series, value) for name, text in one.annotations.items()}
    return _Active(
        labels=_pairs({**plain, **own, "alertname": one.rule.alert}),
        annotations=_pairs(annotations),
        since=since,
        seen=at,
    )


def _pairs(labels: Mapping[str, str]) -> LabelPairs:
    return tuple(sorted((name, value) for name, value in labels.items() if value))
