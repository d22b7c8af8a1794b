"""What to ask a server: presets that fit what it has, and the window rates need.

The window of rates is Grafana's `$__rate_interval`: `max(4 × scrape interval, step + scrape
interval)`. Four intervals leave two samples in the window although one scrape failed; a step and
one more leave no sample between two windows unseen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from dos.ingest.promql.api import PrometheusApi
from dos.ingest.promql.columns import BoundQuery
from dos.ingest.promql.presets import load_preset, preset_names
from dos.ingest.promql.queries import EdgeQuery, Query, Variant, expand
from dos.kit.clock import MINUTE, Millis
from dos.kit.duration import format_duration

USUAL_SCRAPE_INTERVAL = 15.0
"""Seconds; where neither the configuration nor the server tells."""
_PRESENT = 10 * MINUTE
"""A metric is there when it had a sample this recently."""
_FROM_UP = (
    "quantile(0.9, (timestamp(up) - timestamp(up offset 5m)) / count_over_time(up[299999ms]))"
)
"""Seconds between scrapes, from the data: the time from the newest sample of `up` five minutes
ago to that of now, by the number of samples since (a millisecond less, because a range includes
its start before Prometheus 3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundEdges:
    """An edge query ready to be sent."""

    key: str
    promql: str
    query: EdgeQuery


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is asked from now on; own queries stand before those of presets."""

    queries: tuple[BoundQuery, ...] = ()
    edges: tuple[BoundEdges, ...] = ()
    presets: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


async def scrape_interval(api: PrometheusApi, now: Millis) -> float | None:
    """Seconds between scrapes of all but the slowest tenth of the targets; None if unknown.

    Prometheus lists its targets. A store that others write to does not; there the samples of
    `up` tell, once there are five minutes of them.
    """
    intervals = sorted(await api.scrape_intervals())
    if intervals:
        return intervals[math.ceil(0.9 * len(intervals)) - 1]
    answer = await api.query("the look at the scrape interval", _FROM_UP, now)
    found = [float(value) for value in answer.value if math.isfinite(value) and value > 0]
    return round(found[0], 1) if found else None


def rate_window(step: float, scrape: float) -> float:
    """Seconds that `$range` stands for; see the module."""
    return max(4 * scrape, step + scrape)


async def make_plan(
    api: PrometheusApi,
    now: Millis,
    *,
    presets: Sequence[str] | Literal["auto"],
    queries: Sequence[Query],
    edges: Sequence[EdgeQuery],
    variables: Mapping[str, str],
) -> Plan:
    """Find out which presets fit the server now, and bind all queries.

    Raises:
        DosError: The server cannot be asked.
    """
    names = preset_names() if presets == "auto" else tuple(presets)
    wanted = sorted({name for one in names for name in load_preset(one).families})
    present: set[str] = set()
    if wanted:
        # An end in the future: the server's clock may be ahead of ours.
        start, end = Millis(now - _PRESENT), Millis(now + _PRESENT)
        present = await api.metric_names(wanted, start, end)
    bound = list(_bind(queries, "of this source", variables))
    bound_edges = list(_bind_edges(edges, "of this source", variables))
    fitting: list[str] = []
    problems: list[str] = []
    for name in names:
        preset = load_preset(name)
        variant: Variant | None = preset.choose(present)
        if variant is None:
            if presets != "auto":
                problems.append(_missing(name, [one.detects for one in preset.variants]))
            continue
        fitting.append(name)
        known = {**variables, **variant.variables}
        bound += _bind(preset.queries, f"of preset {name}", known)
        bound_edges += _bind_edges(preset.edges, f"of preset {name}", known)
    if not bound:
        problems.append(
            "No metric that a preset knows has samples there "
            f"(presets: {', '.join(preset_names())}). Scrape one of them, or write `queries`."
        )
    return Plan(
        queries=tuple(bound),
        edges=tuple(bound_edges),
        presets=tuple(fitting),
        problems=tuple(problems),
    )


def variables_for(step: float, scrape: float) -> dict[str, str]:
    """What `$range` and `$interval` stand for."""
    return {
        "range": format_duration(rate_window(step, scrape)),
        "interval": format_duration(step),
    }


def _bind(queries: Sequence[Query], whose: str, variables: Mapping[str, str]) -> list[BoundQuery]:
    bound: list[BoundQuery] = []
    for number, query in enumerate(queries):
        same = [one.metric for one in queries[:number]].count(query.metric)
        key = f"query {query.metric}{f' ({same + 1})' if same else ''} {whose}"
        bound.append(BoundQuery(key=key, promql=expand(query.promql, variables, key), query=query))
    return bound


def _bind_edges(
    edges: Sequence[EdgeQuery], whose: str, variables: Mapping[str, str]
) -> list[BoundEdges]:
    bound: list[BoundEdges] = []
    for number, query in enumerate(edges, start=1):
        key = f"edge query {number} {whose}"
        bound.append(BoundEdges(key=key, promql=expand(query.promql, variables, key), query=query))
    return bound


def _missing(name: str, variants: Sequence[Sequence[str]]) -> str:
    ways = " or ".join(" and ".join(one) for one in variants[:2])
    more = ", or other names" if len(variants) > 2 else ""
    return f"Preset {name}: the server has no samples of {ways}{more}. Scrape them, or drop it."
