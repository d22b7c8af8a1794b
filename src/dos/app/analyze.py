"""Analysis of posted telemetry, apart from the live system: the same kernel and ranker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dos.api.backend import Analysis, Case
from dos.app import wiring
from dos.app.settings import Settings
from dos.compute.local import LocalHost
from dos.detect.engine import DetectKernel
from dos.impact.analyzer import ImpactAnalyzer
from dos.impact.signals import Telemetry
from dos.kit.clock import Millis
from dos.kit.errors import PermanentError
from dos.model.anomaly import Anomaly, Findings, anomaly_of
from dos.model.graph import GraphSnapshot
from dos.model.ids import SeriesId
from dos.model.impact import Impact
from dos.model.rootcause import RootCause
from dos.model.telemetry import MetricBatch, Series
from dos.rca.case import Case as RankingCase
from dos.topology.graph import Topology

_MOST_CELLS = 20_000_000
"""Times by series that one analysis may look at: 160 MB."""


def analyze(settings: Settings, case: Case) -> Analysis:
    """Score the samples in order of time, and rank causes if anything is abnormal.

    Raises:
        PermanentError: There is nothing to analyse, or far too much.
    """
    frame = case.frame
    finite = np.isfinite(frame.value)
    if not finite.any():
        msg = "There is no finite sample in what was posted."
        raise PermanentError(msg, remedy="Post at least one series with values.")
    series = [Series(id=SeriesId(i), spec=spec) for i, spec in enumerate(frame.series)]
    batch = MetricBatch(
        series_id=frame.index[finite], timestamp=frame.timestamp[finite], value=frame.value[finite]
    )
    kernel = DetectKernel(settings.detect)
    host = LocalHost(kernel)
    host.register(series)
    findings = host.step(batch)
    anomalies = _anomalies(findings, series, kernel.detectors)
    if not anomalies and case.trouble_began_at is None:
        return Analysis(anomalies=(), root_cause=None)
    start = case.trouble_began_at or min(one.started_at for one in anomalies)
    ranking = _ranking_case(case, batch, start, anomalies)
    cause = wiring.build_ranker(settings).rank(ranking)
    impact = _impact(settings, ranking, cause, anomalies) if anomalies else None
    return Analysis(anomalies=anomalies, root_cause=cause, impact=impact)


def _impact(
    settings: Settings, ranking: RankingCase, cause: RootCause, anomalies: tuple[Anomaly, ...]
) -> Impact:
    """Who is affected, and what the requests at the entry points met."""
    return ImpactAnalyzer(settings.impact).assess(
        {one.entity for one in anomalies},
        cause.top.entity if cause.top else None,
        ranking.graph or GraphSnapshot(),
        [one for one in anomalies if one.ended_at is None] or anomalies,
        telemetry=Telemetry(
            times=ranking.times,
            values=ranking.values,
            series=ranking.series,
            start=ranking.start,
            end=ranking.end,
        ),
    )


def _anomalies(
    findings: Findings, series: list[Series], detectors: Sequence[str]
) -> tuple[Anomaly, ...]:
    found: list[Anomaly] = []
    lasting: dict[int, int] = {}  # position in `found` by series
    for i in range(len(findings)):
        series_id, at = int(findings.series_id[i]), Millis(int(findings.timestamp[i]))
        place = lasting.get(series_id)
        if not findings.started[i]:
            last = lasting.pop(series_id)
            found[last] = replace(found[last], ended_at=at)
            continue
        if place is not None:  # worse than reported
            found[place] = replace(
                found[place],
                deviation=float(findings.deviation[i]),
                score=float(findings.score[i]),
                observed=float(findings.observed[i]),
            )
            continue
        lasting[series_id] = len(found)
        one = series[series_id]
        found.append(anomaly_of(findings, i, one, decided_at=at, detectors=detectors))
    return tuple(sorted(found, key=lambda one: (-abs(one.deviation), one.id)))


def _ranking_case(
    case: Case, batch: MetricBatch, start: Millis, anomalies: tuple[Anomaly, ...]
) -> RankingCase:
    times = np.unique(batch.timestamp)
    series = case.frame.series
    if len(times) * len(series) > _MOST_CELLS:
        msg = f"{len(times)} times of {len(series)} series are too many to analyse at once."
        raise PermanentError(msg, remedy="Post a shorter window or fewer series.")
    values = np.full((len(times), len(series)), np.nan)
    values[np.searchsorted(times, batch.timestamp), batch.series_id] = batch.value
    graph: GraphSnapshot | None = None
    end = Millis(int(times[-1]))
    if case.edges:
        topology = Topology()
        topology.ensure(list(dict.fromkeys(spec.entity for spec in series)), end)
        topology.apply((), case.edges, end)
        graph = topology.snapshot(end)
    return RankingCase(
        times=times,
        values=values,
        series=series,
        graph=graph,
        start=start,
        end=end,
        abnormal=frozenset(one.entity for one in anomalies) or None,
    )
