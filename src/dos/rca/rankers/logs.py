"""Log novelty: who began to write what it never wrote before.

Log analysis keeps, for each entity that writes lines, how unusual they are in three ways: new
templates, bursts of known ones, new values in them (`dos.model.logs.LogSignal`; 0 to 1, a half is
the limit). The score is by how much an entity passes the limit, and what it was used to, since the
trouble began, less by e for each `fade` seconds after whoever did so first: errors are written
down by callers too, a little later (Lin et al., *Log clustering based problem identification for
online service systems*, ICSE 2016, looks at what was never seen before first; templates are found
online as by Drain, He et al., ICWS 2017).

    >>> from dos.testing.rankers import ranked, story
    >>> case = story(("payment", "log_new_templates", 40.0, 0), ("orders", "cpu", 3.0, 0))
    >>> ranked("logs", case)
    ['payment']

Fails: without log lines it says that it does not know; a deploy writes new lines and breaks
nothing; whoever writes everything down that its callees do wrong is blamed for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dos.kit.clock import SECOND
from dos.kit.plugins import Plugin
from dos.model.logs import LogSignal
from dos.model.rootcause import Evidence, EvidenceKind, RootCause
from dos.model.telemetry import Float64Array, Int64Array
from dos.rca.base import EntityScores
from dos.rca.case import Case
from dos.rca.evidence import clock_time
from dos.rca.review import Review, greatest

LIMIT = 0.5
"""Score of a signal at which it becomes an anomaly."""
_WHAT = {
    LogSignal.NEW: "lines that it never wrote before",
    LogSignal.BURST: "known lines far more often than before",
    LogSignal.PARAMETER: "known lines with values that they never had",
}


class Config(BaseModel):
    """Keys of `type: logs`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hypotheses: int = Field(default=6, ge=1, le=20, description="Most hypotheses to give.")
    fade: float = Field(
        default=120.0,
        gt=0,
        description="Seconds after the first unusual lines at which others count a third.",
    )


class LogsRanker:
    """Ranks entities by how unusual what they write became, and how early."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def score(self, case: Case) -> EntityScores:
        """0 to 1; 0 for all where nobody's lines are known."""
        review = Review.of(case)
        return review.scores(self._novelty(review).score)

    def rank(self, case: Case) -> RootCause:
        """Who wrote what, and when."""
        review = Review.of(case)
        novelty = self._novelty(review)
        total = novelty.score.sum()
        share = novelty.score / total if total > 0 else novelty.score

        def own(entity: int) -> Sequence[Evidence]:
            series = int(novelty.series[entity])
            signal = LogSignal(case.series[series].metric)
            name, at = review.entities[entity], int(novelty.at[series])
            text = (
                f"since {clock_time(at)} it writes {_WHAT[signal]} "
                f"(score {novelty.now[series]:.2f}, usually up to {novelty.before[series]:.2f})"
            )
            weight = float(novelty.score[entity])
            return [review.say(name, EvidenceKind.LOG, text, weight, metric=signal, start=at)]

        return review.conclude(
            novelty.score,
            method="logs",
            limit=self._config.hypotheses,
            own=own,
            beside=(EvidenceKind.DEVIATION, EvidenceKind.INTERNAL_SIGNAL),
            chances=share * float(novelty.score.max(initial=0.0)),
        )

    def _novelty(self, review: Review) -> _Novelty:
        case, count = review.case, len(review.entities)
        names = {signal.value for signal in LogSignal}
        written = np.array([spec.metric in names for spec in case.series], np.bool_)
        baseline, suspect = case.windows()
        values = np.clip(np.where(written, case.values, np.nan), 0.0, 1.0)
        before = np.where(baseline & written, values, 0.0).max(axis=0, initial=0.0)
        now = np.where(suspect & written, values, 0.0).max(axis=0, initial=0.0)
        usual = np.maximum(before, LIMIT)
        beyond = suspect & written & (values > usual)
        late = np.iinfo(np.int64).max
        at = np.where(beyond, case.times[:, None], late).min(axis=0, initial=late)
        passed = np.where(beyond.any(axis=0), now - usual, 0.0) / LIMIT
        delay = np.zeros(len(at))
        if (shown := passed > 0).any():
            delay[shown] = (at[shown] - at[shown].min()) / (self._config.fade * SECOND)
        size = passed * np.exp(-delay)
        series = np.full(count, -1, np.int64)
        for one in np.argsort(size, kind="stable"):
            if size[one] > 0:
                series[review.owner[one]] = one
        score = greatest(size, review.owner, count)
        return _Novelty(score=score, series=series, now=now, before=before, at=at)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Novelty:
    score: Float64Array
    """`[entity]` 0 to 1."""
    series: Int64Array
    """`[entity]` the signal that says most; -1 where none does."""
    now: Float64Array
    """`[series]` greatest value since the trouble began."""
    before: Float64Array
    at: Int64Array
    """`[series]` when it passed the limit, ms."""


PLUGIN = Plugin(Config, LogsRanker)
