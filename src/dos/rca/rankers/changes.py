"""Change correlation: what was changed just before the trouble began.

Two things may have started it: one of the changes, or nothing that anybody did. A change of a kind
that does harm with probability p shows it after a while that is exponentially distributed, so it
offers the trouble at rate p / `lag` * exp(-age / `lag`); trouble without a change comes at a
constant rate, `spontaneous` a day. The probability of each is its share of all these rates
(competing risks: Kalbfleisch and Prentice, *The Statistical Analysis of Failure Time Data*, 2002,
chapter 8). How often a kind does harm is learned from the changes in the history of the case, and
whether trouble followed them (`dos.rca.harm`). Only changes of entities that are abnormal, or have
an abnormal caller, count.

    >>> from dos.model.change import Change, ChangeKind
    >>> from dos.testing.rankers import START, ranked, story
    >>> deploy = Change(id="c-1", at=START - 30_000, kind=ChangeKind.DEPLOY, entity="orders")
    >>> slow = (("payment", "latency_p95", 9.0, 0), ("orders", "latency_p95", 4.0, 0))
    >>> ranked("changes", story(*slow, changes=[deploy]))
    ['orders']
    >>> ranked("changes", story(*slow))
    []

Fails: most incidents follow no change that is known of, and then it says so; harm that shows hours
later (a slow leak) is out of its reach; several changes at once share the blame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dos.kit.clock import DAY, SECOND
from dos.kit.plugins import Plugin
from dos.model.change import Change
from dos.model.rootcause import Evidence, EvidenceKind, RootCause
from dos.model.telemetry import BoolArray, Float64Array
from dos.rca.base import EntityScores
from dos.rca.case import Case
from dos.rca.evidence import clock_time
from dos.rca.harm import Record, track_record
from dos.rca.review import Review


class Config(BaseModel):
    """Keys of `type: changes`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hypotheses: int = Field(default=6, ge=1, le=20, description="Most hypotheses to give.")
    lag: float = Field(
        default=60.0, gt=0, description="Mean seconds until a harmful change shows its harm."
    )
    window: float = Field(
        default=1800.0, gt=0, description="Seconds before the trouble that are looked at."
    )
    spontaneous: float = Field(
        default=10.0, gt=0, description="Incidents a day, small ones too, that follow no change."
    )


class ChangesRanker:
    """Ranks entities by how probably a change of theirs started the trouble."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def score(self, case: Case) -> EntityScores:
        """Probability that a change of the entity was the cause; 0 without one."""
        review = Review.of(case)
        return review.scores(self._blame(review)[0])

    def rank(self, case: Case) -> RootCause:
        """The changes that may have been it, with when, and how often their kind does harm."""
        review = Review.of(case)
        score, blamed = self._blame(review)

        def own(entity: int) -> Sequence[Evidence]:
            return [_said(review, one) for one in blamed if one.entity == entity]

        return review.conclude(
            score,
            method="changes",
            limit=self._config.hypotheses,
            own=own,
            beside=(EvidenceKind.DEVIATION, EvidenceKind.INTERNAL_SIGNAL),
            chances=score * review.sure(),
        )

    def _blame(self, review: Review) -> tuple[Float64Array, Sequence[_Blamed]]:
        """`[entity]` probabilities, and the changes they come from, most probable first."""
        case, config, place = review.case, self._config, review.place
        onset, affected = review.found.onset, _affected(review)
        first = onset - round(config.window * SECOND)
        # What is only known to a step may have begun up to a step earlier than it is dated.
        step = float(np.median(np.diff(case.times))) if len(case.times) > 1 else 0.0
        record = track_record(case, min(first, case.start))
        blamed: list[_Blamed] = []
        for change in case.changes:
            at = place.get(change.entity) if change.entity is not None else None
            if at is None or not affected[at] or not first <= change.at <= onset + step:
                continue
            known = record.get(change.kind, Record())
            age = max(onset - change.at, 0) / SECOND
            rate = known.rate(change.kind) / config.lag * float(np.exp(-age / config.lag))
            blamed.append(_Blamed(entity=at, change=change, record=known, rate=rate))
        score = np.zeros(len(review.entities))
        # In an order of their own, so that sums do not depend on that of the case.
        blamed.sort(key=lambda one: (-one.rate, one.change.at, one.change.id))
        total = sum(one.rate for one in blamed) + config.spontaneous * SECOND / DAY
        for one in blamed:
            score[one.entity] += one.rate / total
        return score, blamed


@dataclass(frozen=True, slots=True, kw_only=True)
class _Blamed:
    """A change that may have been it."""

    entity: int
    change: Change
    record: Record
    rate: float
    """At which it offers the trouble, per second."""


def _affected(review: Review) -> BoolArray:
    """`[entity]` whether it, or somebody who calls it, is clearly abnormal."""
    affected = review.abnormal.copy()
    for caller, callees in enumerate(review.callees()):
        if review.abnormal[caller]:
            affected[callees] = True
    return affected


def _said(review: Review, blamed: _Blamed) -> Evidence:
    change, record, onset = blamed.change, blamed.record, review.found.onset
    lead = (onset - change.at) / SECOND
    when = f"{lead:.0f} s before" if lead >= 0 else f"{-lead:.0f} s after"
    summary = f" ({change.summary})" if change.summary else ""
    history = (
        f"{record.harmful} of {record.seen} earlier ones were followed by trouble"
        if record.seen
        else "nothing is known of earlier ones"
    )
    text = (
        f"{change.kind}{summary} at {clock_time(change.at)}, {when} the trouble began; {history}, "
        f"so {record.rate(change.kind):.0%} are taken to do harm"
    )
    # In nats: how many times as often as trouble comes by itself in a day of 86,400 seconds.
    weight = float(np.log1p(blamed.rate * DAY / SECOND))
    name = review.entities[blamed.entity]
    return review.say(name, EvidenceKind.CHANGE, text, weight, start=change.at)


PLUGIN = Plugin(Config, ChangesRanker)
