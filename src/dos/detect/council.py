"""Series that several detectors watch: all are asked, one judgement is made, all learn by it.

Detectors that watch every series have the threshold of `dos.detect.thresholds`; those that look
closely one that a stated share of their healthy deviations reaches (`dos.detect.evt`).

Each step here is one pass over the batch, in NumPy or compiled; only the few series that are
watched closely come this way, or all where further detectors score every series.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import cast

import numpy as np

from dos.compute.base import ColumnBatch
from dos.detect import evt
from dos.detect.base import Scored, Thorough
from dos.detect.closely import OTHER
from dos.detect.ensemble import Verdict, combine, score_of
from dos.detect.fused import HISTORY_WEIGHT
from dos.detect.judge import (
    ENDED,
    EXHAUSTED,
    NOTHING,
    STARTED,
    Opinions,
    Rules,
    decide_rows,
    lasting_rows,
    mean_rows,
    tail_rows,
    weigh_close,
    weigh_rows,
)
from dos.detect.members import Member, MemberState, Said
from dos.detect.state import NAN, EngineState
from dos.detect.thresholds import ThresholdConfig, rarity
from dos.model.anomaly import Findings
from dos.model.telemetry import (
    BoolArray,
    Float32Array,
    Float64Array,
    Int8Array,
    Int32Array,
    Int64Array,
)

UNKNOWN_ROLE = 0.5
"""What the strength of the everyday detector counts in a series of no known role that a thorough
detector watches too."""
LARGEST = float(np.finfo(np.float32).max)
"""Of what is kept in single precision."""


class Council:
    """Judges samples by several detectors.

    Args:
        members: The detectors, the everyday one first.
        dense: How many of them, from the first on, watch every series; the others those with a
            slot.
        rules: How decisions are made.
        config: How thresholds are learned.
    """

    def __init__(
        self, members: Sequence[Member], dense: int, rules: Rules, config: ThresholdConfig
    ) -> None:
        self._members = members
        self._dense = dense
        self._rules = rules
        self._config = config
        self._names = tuple(member.name for member in members)
        self._thorough = [
            place
            for place, member in enumerate(members)
            if place >= dense and isinstance(member.detector, Thorough)
        ]

    def step(self, state: EngineState, batch: ColumnBatch) -> tuple[Findings, Float64Array]:
        """Score, decide, learn; the findings, and the strength of each sample."""
        row, engine = batch.row, state.engine
        said = self._ask(state, batch)
        strengths = np.stack([one.strength(len(row)) for one in said])
        scored, rows = said[0].scored, state.rows()
        deviation = np.where(scored.ready, scored.deviation, 0.0)
        away = mean_rows(self._rules, rows, row, deviation, strengths[0])
        strengths[0] *= self._sureness(state, row, strengths)
        verdict = combine(self._names, strengths)
        plain = np.fmax.reduce(strengths[: self._dense])
        strength = self._without_spent(state, row, verdict.strength, plain)
        findings, abnormal = Findings.empty(), cast(BoolArray, engine["abnormal"])[row]
        if batch.history:
            heavy = max(self._rules.abnormal_weight, HISTORY_WEIGHT)
            weight = np.where(strength >= 1.0, heavy, 1.0)
        else:
            judged = replace(verdict, strength=strength)
            findings = self._decide(state, batch, said, judged, plain)
            abnormal = abnormal | cast(BoolArray, engine["abnormal"])[row]
            light = abnormal | (strength >= 1.0)
            weight = np.where(light, self._rules.abnormal_weight, 1.0)
        learns = scored.ready & ~abnormal & ~_sure(scored)
        lasting_rows(self._rules, rows, row, away, learns)
        for place, (member, own, one) in enumerate(self._with(state, said)):
            at = one.at
            times, values = batch.timestamp[at], batch.value[at]
            member.detector.learn(own.own, one.row, times, values, weight[at])
            learns = one.scored.ready & ~abnormal[at] & ~_sure(one.scored)
            if place >= self._dense:
                evt.take_rows(evt.table_of(own.tails), one.row, one.scored.deviation, learns)
                continue
            tail = cast(Float32Array, own.tails["tail"])
            straying = cast(BoolArray, own.tails["straying"])
            tail_rows(self._rules, tail, straying, one.row, one.distance, learns)
        ready = scored.ready
        known = cast(BoolArray, np.isfinite(strengths).any(axis=0))
        for name, column in (
            ("last", batch.timestamp),
            ("value", batch.value),
            ("expected", np.clip(np.where(ready, scored.expected, NAN), -LARGEST, LARGEST)),
            ("sigma", np.clip(np.where(ready, scored.sigma, NAN), 0.0, LARGEST)),
            ("strength", np.where(known, verdict.strength, NAN)),
            ("leader", verdict.leader),
        ):
            engine[name][row] = column
        return findings, verdict.strength

    def _sureness(
        self, state: EngineState, row: Int32Array, strengths: Float64Array
    ) -> Float64Array:
        """What the word of the everyday detector counts, `[sample]`.

        Of a series whose role nobody knows it knows least, and most of its alarms there are false
        (docs/adr/0002-thresholds.md). So where a thorough detector looks as well, it has to be
        twice as far beyond its threshold to begin something alone.
        """
        lesser = cast(Int8Array, state.engine["rank"])[row] == OTHER
        watched = cast(BoolArray, ~np.isnan(strengths[self._thorough]).all(axis=0))
        return np.where(lesser & watched, UNKNOWN_ROLE, 1.0)

    def _without_spent(
        self, state: EngineState, row: Int32Array, strength: Float64Array, plain: Float64Array
    ) -> Float64Array:
        """Strengths to decide by: a close detector that lingers over what has ended is not heard.

        It is heard again once it no longer calls the series suspicious.
        """
        spent = cast(BoolArray, state.engine["spent"])[row] & (strength >= 1.0)
        state.engine["spent"][row] = spent
        return np.where(spent, np.nan_to_num(plain, nan=0.0), strength)

    def _with(
        self, state: EngineState, said: Sequence[Said]
    ) -> Iterator[tuple[Member, MemberState, Said]]:
        return zip(self._members, state.members, said, strict=True)

    def _every(
        self, state: EngineState, said: Sequence[Said]
    ) -> Iterator[tuple[Member, MemberState, Said]]:
        """Those that watch every series."""
        return islice(self._with(state, said), self._dense)

    def _ask(self, state: EngineState, batch: ColumnBatch) -> list[Said]:
        """What each member says of the samples it watches."""
        every = np.arange(len(batch.row), dtype=np.int32)
        slot = state.slot[batch.row]
        watched = np.flatnonzero(slot >= 0).astype(np.int32)
        rows = state.rows()
        said: list[Said] = []
        for place, (member, own) in enumerate(zip(self._members, state.members, strict=True)):
            dense = place < self._dense
            at = every if dense else watched
            row = batch.row if dense else slot[watched]
            scored = member.detector.score(own.own, row, batch.timestamp[at], batch.value[at])
            if place:  # one without a direction takes that of the everyday detector
                toward = np.where(said[0].scored.deviation[at] < 0, -1.0, 1.0)
                unsigned = np.isnan(scored.expected)
                signed = np.where(unsigned, toward * scored.deviation, scored.deviation)
                scored = replace(scored, deviation=signed)
            deviation = np.where(scored.ready, scored.deviation, 0.0)
            opinions = Opinions(scored.sigma, deviation, _sure(scored))
            if dense:
                tails = state.tails(place)
                distance, limit = weigh_rows(
                    self._rules, rows, *tails, batch.row, row, opinions, place == 0
                )
            else:
                table, least = evt.table_of(own.tails), self._config.closely
                fitted, rare = evt.judge_rows(table, row, deviation, self._config.risk)
                own.tails["rarity"][row] = rare
                distance, limit = weigh_close(rows, batch.row[at], opinions, fitted, least)
            said.append(Said(at=at, row=row, scored=scored, distance=distance, limit=limit))
        return said

    def _decide(
        self,
        state: EngineState,
        batch: ColumnBatch,
        said: Sequence[Said],
        verdict: Verdict,
        plain: Float64Array,
    ) -> Findings:
        """Move evidence and hysteresis; return what started, got worse and ended.

        Detectors that look at windows remember a trouble for a while after it is over. So what
        the detectors that watch every series see, or saw (`plain`), is over when these are calm;
        only what none of them saw lasts until the close ones are.
        """
        row, engine, strength = batch.row, state.engine, verdict.strength
        # What a stretch of wild samples teaches about the tail is forgotten if it turns out to
        # be the beginning of an anomaly: incidents must not make the series less sensitive.
        straying = (strength >= 1.0) & (cast(Float32Array, engine["evidence"])[row] == 0.0)
        engine["lasting_before"][row[straying]] = engine["lasting"][row[straying]]
        for _, own, one in self._every(state, said):
            mine = one.row[straying[one.at]]
            own.tails["tail_before"][mine] = own.tails["tail"][mine]
        goes_on = cast(BoolArray, engine["abnormal"])[row] | (
            cast(Float32Array, engine["evidence"])[row] > 0.0
        )
        seen = (cast(BoolArray, engine["plain"])[row] & goes_on) | (plain >= 1.0)
        seen &= state.slot[row] >= 0  # without a close detector there is nothing to tell apart
        engine["plain"][row] = seen
        easing = np.where(seen & ~np.isnan(plain), plain, strength)
        kind = decide_rows(self._rules, state.rows(), row, strength, easing, batch.timestamp)
        if not kind.any():
            return Findings.empty()
        over = kind == ENDED
        engine["spent"][row[over]] = strength[over] >= 1.0
        verdict = replace(verdict, strength=np.where(over, easing, strength))
        began = row[kind == STARTED]
        engine["lasting"][began] = engine["lasting_before"][began]
        engine["mean"][row[kind == EXHAUSTED]] = 0.0
        for _, own, one in self._every(state, said):
            mine = one.row[kind[one.at] == STARTED]
            own.tails["tail"][mine] = own.tails["tail_before"][mine]
        for member, own, one in self._with(state, said):
            over = one.at[kind[one.at] == EXHAUSTED]
            series = [state.series[place] for place in row[over].tolist()]
            member.begin_anew(own, one.row[kind[one.at] == EXHAUSTED], series)
        return self._findings(state, batch, said, verdict, np.flatnonzero(kind != NOTHING))

    def _findings(
        self,
        state: EngineState,
        batch: ColumnBatch,
        said: Sequence[Said],
        verdict: Verdict,
        at: Int64Array,
    ) -> Findings:
        row, engine = batch.row[at], state.engine
        strength, leader = verdict.strength[at], verdict.leader[at]
        rare = rarity(self._config, strength)
        deviation, lower, expected, upper = (np.empty(len(at)) for _ in range(4))
        for place, (member, own, one) in enumerate(self._with(state, said)):
            # The leader's own band if it has one, else that of the everyday detector.
            mine = np.flatnonzero((leader == place) | (place == 0))
            here = np.searchsorted(one.at, at[mine])
            deviation[mine] = one.scored.deviation[here]
            if place >= self._dense:
                rare[mine] = own.tails["rarity"][one.row[here]]
            known = (place == 0) | ~np.isnan(one.scored.expected[here])
            mine, here = mine[known], here[known]
            middle, reach = one.scored.expected[here], (one.limit * one.scored.sigma)[here]
            for column, scaled in (
                (lower, middle - reach),
                (expected, middle),
                (upper, middle + reach),
            ):
                column[mine] = member.detector.to_unit(own.own, one.row[here], scaled)
        return Findings(
            series_id=cast(Int32Array, engine["id"])[row],
            timestamp=batch.timestamp[at],
            started=cast(BoolArray, engine["abnormal"])[row].copy(),
            onset=cast(Int64Array, engine["onset"])[row].copy(),
            deviation=deviation,
            score=score_of(strength),
            observed=batch.value[at],
            expected=expected,
            lower=lower,
            upper=upper,
            detector=leader,
            rarity=rare,
        )


def _sure(scored: Scored) -> BoolArray:
    return np.zeros(len(scored.ready), np.bool_) if scored.sure is None else scored.sure
