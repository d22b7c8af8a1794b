"""What would change the verdict: what is not known of the leading hypotheses, and what it rests on.

`missing` looks at what the case lacks to tell its leading hypotheses apart: traces, resources,
calls, samples. `rests_on` takes away one kind of information after the other and ranks again: where
another hypothesis leads then, the verdict rests on that. Both are pure functions of the case.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import combinations

import numpy as np

from dos.kit.clock import SECOND
from dos.model.ids import EntityId
from dos.model.logs import LogSignal
from dos.model.rootcause import RootCause
from dos.model.telemetry import Role, SeriesSpec
from dos.rca.case import Case
from dos.rca.evidence import clock_time
from dos.rca.measure import Measured, measure

LEADING = 3
"""Hypotheses that are told apart, at most."""
CLOSE = 1 / 3
"""Share of the first one's probability from which another is a rival of it."""
ENOUGH_SAMPLES = 8
"""Samples since the onset with which a deviation counts nine tenths of what it is."""
ENOUGH_HISTORY = 30
"""Samples of history from which a robust scale is known to about a tenth."""
FINE = 15 * SECOND
"""A finer step than this is hardly ever to be had."""
_SHOWN = 3


class Lack(StrEnum):
    """What is not known."""

    SILENCE = "silence"
    TRACES = "traces"
    RESOURCES = "resources"
    SYMPTOMS = "symptoms"
    GRAPH = "graph"
    STEP = "step"
    SAMPLES = "samples"
    HISTORY = "history"
    CHANGES = "changes"
    LOGS = "logs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Something that, were it known, could change the verdict."""

    lack: Lack
    text: str
    """A sentence: what is missing, and what it would say."""
    entities: tuple[EntityId, ...] = ()
    """Where it is missing; none where it is about the whole case."""
    stake: float
    """Probability that it is about: how much could move from one hypothesis to another, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliance:
    """A kind of information without which another hypothesis would lead."""

    without: str
    """What was taken away, in words."""
    leader: EntityId | None
    """Who would lead then; None where nobody would."""
    probability: float
    """Of that leader; that of "none of these" where nobody leads."""

    @property
    def text(self) -> str:
        """A sentence."""
        if self.leader is None:
            return f"without {self.without} no cause would stand out"
        return f"without {self.without} {self.leader} would lead, with {self.probability:.0%}"


def missing(case: Case, cause: RootCause) -> tuple[Missing, ...]:
    """What would tell the leading hypotheses apart, most at stake first.

    Args:
        case: The case that was ranked.
        cause: What was concluded.
    """
    known = _Known(case=case, cause=cause, measured=measure(case), leading=leading(cause))
    found = [
        *_silence(known),
        *_traces(known),
        *_resources(known),
        *_symptoms(known),
        *_graph(known),
        *_step(known),
        *_samples(known),
        *_history(known),
        *_changes(known),
        *_logs(known),
    ]
    return tuple(sorted(found, key=lambda one: -one.stake))  # stable: of equal ones as above


def leading(cause: RootCause) -> tuple[EntityId, ...]:
    """The first hypothesis and its rivals."""
    if not cause.ranked:
        return ()
    least = CLOSE * cause.ranked[0].probability
    return tuple(one.entity for one in cause.ranked[:LEADING] if one.probability >= least)


def rests_on(case: Case, rank: Callable[[Case], RootCause]) -> tuple[Reliance, ...]:
    """Kinds of information without which `rank` would say something else.

    Args:
        case: The case.
        rank: A ranker's `rank`; called once for the case and once for each kind it has.
    """
    leader = _leader(rank(case))
    found = []
    for without, less in _lessened(case):
        cause = rank(less)
        now = _leader(cause)
        if now != leader:
            chance = cause.ranked[0].probability if now is not None else cause.nobody
            found.append(Reliance(without=without, leader=now, probability=chance))
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Known:
    case: Case
    cause: RootCause
    measured: Measured
    leading: tuple[EntityId, ...]

    def lacking(self, has: Callable[[SeriesSpec], bool]) -> tuple[EntityId, ...]:
        """Leading entities none of whose series is of that kind."""
        there = {spec.entity for spec in self.case.series if has(spec)}
        return tuple(one for one in self.leading if one not in there)

    def stake(self, entities: Sequence[EntityId] = ()) -> float:
        """What could move if more were known of these (of all): the lesser side of the doubt.

        A hypothesis that is sure can hardly move, nor can one that nobody believes.
        """
        chances = [
            one.probability for one in self.cause.ranked if not entities or one.entity in entities
        ]
        return max((min(one, 1.0 - one) for one in chances), default=1.0)

    def what_for(self, entities: Sequence[EntityId]) -> str:
        """`separate the first two`, or what else it does."""
        if len(self.leading) == 1:
            return "confirm or clear it"
        if len(self.leading) == 2:
            return "separate the first two"
        return f"say more of {_names(entities)} among the first {len(self.leading)}"


def _silence(known: _Known) -> list[Missing]:
    """Series of leading entities that stopped when the trouble began."""
    case, found = known.case, []
    present = np.isfinite(case.values)
    since = (case.times >= known.cause.onset) & (case.times <= case.end)
    if since.sum() < 2:
        return []
    silent = np.logical_and(present[~since].any(axis=0), ~present[since].any(axis=0))
    for entity in known.leading:
        gone = {
            spec.metric
            for at, spec in enumerate(case.series)
            if spec.entity == entity and silent[at]
        }
        if gone:
            text = (
                f"{_names(sorted(gone))} of {entity} has not been sampled since "
                f"{clock_time(known.cause.onset)}: its values would {known.what_for([entity])}"
            )
            found.append(_lack(known, Lack.SILENCE, text, [entity]))
    return found


def _traces(known: _Known) -> list[Missing]:
    """Leading entities that call others, of whose time nobody knows where it goes."""
    graph = known.case.graph
    without = known.lacking(lambda spec: ("scope", "self") in spec.labels)
    waiting = [one for one in without if graph is None or graph.callees(one)]
    if not waiting:
        return []
    text = (
        f"traces from {_names(waiting)} would {known.what_for(waiting)}: they say whether time "
        "goes in its own code or in what it calls"
    )
    return [_lack(known, Lack.TRACES, text, waiting)]


def _resources(known: _Known) -> list[Missing]:
    without = known.lacking(lambda spec: spec.role is Role.SATURATION)
    if not without:
        return []
    text = (
        f"processor and memory of {_names(without)} would {known.what_for(without)}: they say "
        "whether it is short of something or waits for others"
    )
    return [_lack(known, Lack.RESOURCES, text, without)]


def _symptoms(known: _Known) -> list[Missing]:
    without = known.lacking(
        lambda spec: spec.role.is_golden and ("scope", "self") not in spec.labels
    )
    if not without:
        return []
    text = (
        f"latency and failed requests of {_names(without)} would {known.what_for(without)}: they "
        "say whether those who use it feel anything"
    )
    return [_lack(known, Lack.SYMPTOMS, text, without)]


def _graph(known: _Known) -> list[Missing]:
    graph = known.case.graph
    if len(known.case.entities()) < 2:
        return []
    if graph is None or not graph.edges:
        text = "who calls whom is not known: calls would say which trouble follows from which"
        return [_lack(known, Lack.GRAPH, text, ())]
    without = [one for one in known.leading if not graph.neighbours(one)]
    if not without:
        return []
    text = (
        f"nobody is known to call {_names(without)}, nor to be called: its calls would "
        f"{known.what_for(without)}"
    )
    return [_lack(known, Lack.GRAPH, text, without)]


def _step(known: _Known) -> list[Missing]:
    """Leading entities that began within one step, where the step could be finer."""
    step = _step_of(known.case)
    if step <= FINE:
        return []
    begun = {one: _begun(known, one) for one in known.leading}
    for one, other in combinations(known.leading, 2):
        a, b = begun[one], begun[other]
        if a is not None and b is not None and abs(a - b) <= step:
            finer = max(step / 4, FINE) / SECOND
            text = (
                f"with a sample every {step / SECOND:.0f} s nobody can say which of {one} and "
                f"{other} was first; one every {finer:.0f} s would"
            )
            return [_lack(known, Lack.STEP, text, [one, other])]
    return []


def _samples(known: _Known) -> list[Missing]:
    case, step = known.case, _step_of(known.case)
    since = int(((case.times >= known.cause.onset) & (case.times <= case.end)).sum())
    if since >= ENOUGH_SAMPLES or not len(case.times):
        return []
    more = ENOUGH_SAMPLES - since
    when = f", in {_lasting(more * step)}," if step > 0 else ""
    text = (
        f"there {_are(since, 'sample')} since it began; {more} more{when} would tell a lasting "
        "change from a spike"
    )
    return [_lack(known, Lack.SAMPLES, text, ())]


def _history(known: _Known) -> list[Missing]:
    case = known.case
    baseline, _ = case.windows()
    mine = [at for at, spec in enumerate(case.series) if spec.entity in known.leading]
    if not mine:
        return []
    count = int(np.median(baseline[:, mine].sum(axis=0)))
    if count >= ENOUGH_HISTORY:
        return []
    text = (
        f"there {_are(count, 'sample')} of what was normal for {_names(known.leading)}; with "
        f"{ENOUGH_HISTORY} it would be known how far is far"
    )
    return [_lack(known, Lack.HISTORY, text, known.leading)]


def _changes(known: _Known) -> list[Missing]:
    if known.case.changes:
        return []
    text = (
        "no deploys, flags or changes of configuration are known: one shortly before "
        f"{clock_time(known.cause.onset)} would be a suspect"
    )
    return [_lack(known, Lack.CHANGES, text, ())]


def _logs(known: _Known) -> list[Missing]:
    signals = {signal.value for signal in LogSignal}
    without = known.lacking(lambda spec: spec.metric in signals)
    if not without:
        return []
    text = (
        f"log lines of {_names(without)} would {known.what_for(without)}: a cause often writes "
        "what it never wrote before"
    )
    return [_lack(known, Lack.LOGS, text, without)]


def _lack(known: _Known, lack: Lack, text: str, entities: Sequence[EntityId]) -> Missing:
    return Missing(lack=lack, text=text, entities=tuple(entities), stake=known.stake(entities))


def _begun(known: _Known, entity: EntityId) -> int | None:
    """When its most abnormal series became so; None where none is."""
    mine = [
        at
        for at, spec in enumerate(known.case.series)
        if spec.entity == entity and known.measured.samples[at]
    ]
    if not mine:
        return None
    best = max(mine, key=lambda at: (abs(known.measured.deviation[at]), -known.measured.onset[at]))
    return int(known.measured.onset[best])


def _step_of(case: Case) -> float:
    """ms between samples of a series, as a rule; 0 where there are fewer than two."""
    per_series = np.isfinite(case.values).sum(axis=0)
    if len(case.times) < 2 or not per_series.any():
        return 0.0
    # Sources of different steps share one table, so not every row has a sample of each.
    filled = float(np.median(per_series[per_series > 0])) / len(case.times)
    return float(np.median(np.diff(case.times))) / filled


def _lessened(case: Case) -> list[tuple[str, Case]]:
    """The case without one kind of information, for each kind it has."""
    found: list[tuple[str, Case]] = []
    if case.graph is not None and case.graph.edges:
        found.append(("the call graph", replace(case, graph=None)))
    if case.changes:
        found.append(("what was changed", replace(case, changes=())))
    if case.target is not None:
        found.append(("the alarm", replace(case, target=None)))
    if case.abnormal:
        found.append(("what detection saw", replace(case, abnormal=None)))
    signals = {signal.value for signal in LogSignal}
    kinds: tuple[tuple[str, Callable[[SeriesSpec], bool]], ...] = (
        ("traces", lambda spec: ("scope", "self") in spec.labels),
        ("resources", lambda spec: spec.role is Role.SATURATION),
        (
            "latency",
            lambda spec: spec.role is Role.LATENCY and ("scope", "self") not in spec.labels,
        ),
        ("failures", lambda spec: spec.role in {Role.ERRORS, Role.AVAILABILITY}),
        ("log lines", lambda spec: spec.metric in signals),
    )
    for name, has in kinds:
        kept = [at for at, spec in enumerate(case.series) if not has(spec)]
        if 0 < len(kept) < len(case.series):
            series = tuple(case.series[at] for at in kept)
            found.append((name, replace(case, values=case.values[:, kept], series=series)))
    return found


def _leader(cause: RootCause) -> EntityId | None:
    return cause.top.entity if cause.top is not None else None


def _names(names: Sequence[str]) -> str:
    shown, more = list(names[:_SHOWN]), len(names) - _SHOWN
    if more > 0:
        return f"{', '.join(shown)} and {more} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _are(count: int, noun: str) -> str:
    if count == 0:
        return f"is no {noun}"
    return f"is only 1 {noun}" if count == 1 else f"are only {count} {noun}s"


def _lasting(milliseconds: float) -> str:
    seconds = math.ceil(milliseconds / SECOND)
    return f"{seconds} s" if seconds < 120 else f"{math.ceil(seconds / 60)} min"
