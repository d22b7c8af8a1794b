"""CPU time and memory of ranking root causes on one core, beside published methods. Markdown.

    python benchmarks/rca.py [--ranker NAME]… [--sizes 200,5000] [--rounds 3]

Cases are made up: entities in tiers that call each other, ten series each, an hour of samples
every 15 s, trouble at one entity that its callers feel. Each method ranks the same case in a
process of its own; times are CPU seconds of that process, the best of several rounds after one to
warm up, and memory is the greatest resident size while ranking less that before it. Methods
without a ranker's conclusion only score.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np

from dos.app.settings import RcaSettings
from dos.evaluate.rca.contenders import Side, contender
from dos.kit.clock import SECOND, Millis, SystemClock
from dos.model.entity import Entity
from dos.model.graph import Edge, GraphSnapshot
from dos.model.ids import EntityId
from dos.model.telemetry import Role, SeriesSpec
from dos.rca.case import Case

PEERS = ("baro", "circa", "alarm_walk", "epsilon_diagnosis")
"""BARO, CIRCA, and two of PyRCA's methods."""
STEP = 15
TIMES = 240
BEGAN = 200
"""Sample at which the trouble begins."""
KINDS = (
    ("latency_p50_seconds", Role.LATENCY, 0.1),
    ("latency_p95_seconds", Role.LATENCY, 0.2),
    ("latency_p99_seconds", Role.LATENCY, 0.4),
    ("error_ratio", Role.ERRORS, 0.01),
    ("requests_per_second", Role.TRAFFIC, 100.0),
    ("cpu_usage_ratio", Role.SATURATION, 0.4),
    ("memory_usage_ratio", Role.SATURATION, 0.5),
    ("connections", Role.SATURATION, 40.0),
    ("network_receive_bytes", Role.TRAFFIC, 1e6),
    ("network_transmit_bytes", Role.TRAFFIC, 1e6),
)
"""Ten series of each entity, and how large they are."""
MONDAY = 1_767_571_200_000


@dataclass(frozen=True)
class Cost:
    """What ranking a case took."""

    seconds: float
    megabytes: float
    first: bool
    """Whether the cause was ranked first."""


def case(entities: int, seed: int = 1) -> tuple[Case, EntityId]:
    """A case of that size, and its cause."""
    rng = np.random.default_rng(seed)
    names = [EntityId(f"service-{at}") for at in range(entities)]
    edges = [
        Edge(caller=names[caller], callee=names[at])
        for at in range(1, entities)
        for caller in {int(one) for one in rng.integers(max(0, at // 4 - 3), max(1, at // 2), 2)}
    ]
    graph = GraphSnapshot(
        version=1,
        entities=tuple(Entity(id=name) for name in sorted(names)),
        edges=tuple(sorted(edges, key=lambda one: (one.caller, one.callee))),
    )
    series = tuple(
        SeriesSpec(entity=name, metric=metric, role=role)
        for name in names
        for metric, role, _ in KINDS
    )
    level = np.tile([usual for _, _, usual in KINDS], entities)
    # In place, so that the process has never been larger than the case when ranking begins.
    values = rng.standard_normal((TIMES, len(series)))
    values *= 0.05
    np.exp(values, out=values)
    values *= level
    cause = names[entities // 2]
    felt = graph.dependents(cause)
    for at, name in enumerate(names):
        if name in felt:
            values[BEGAN:, len(KINDS) * at : len(KINDS) * at + 4] *= 1 + 6 / (1 + felt[name])
    values[BEGAN:, len(KINDS) * (entities // 2) + 5] = 0.98
    times = MONDAY + STEP * SECOND * np.arange(TIMES)
    return Case(
        times=times,
        values=values,
        series=series,
        graph=graph,
        start=Millis(int(times[BEGAN])),
        end=Millis(int(times[-1])),
    ), cause


def cost(side: Side, name: str, entities: int, rounds: int) -> Cost:
    """In a process of its own: the cost of one method."""
    given, cause = case(entities)
    method, clock = contender(side, name), SystemClock()
    small, _ = case(20)
    method.answer(small, clock)  # loaded and compiled
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    spent, first = [], False
    for _ in range(rounds):
        began = time.process_time()
        # As the pipeline calls it: a ranker concludes, a published method scores.
        answer = method.conclude(given)
        spent.append(time.process_time() - began)
        first = answer == cause
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Cost(seconds=min(spent), megabytes=(after - before) / 1024, first=first)


def rows(rankers: list[str], sizes: list[int], rounds: int) -> Iterator[str]:
    """Lines of the table."""
    methods = [(Side.RANKER, one) for one in rankers] + [(Side.BASELINE, one) for one in PEERS]
    context = multiprocessing.get_context("spawn")
    for entities in sizes:
        costs: dict[str, Cost] = {}
        for side, name in methods:
            # A fresh process each: the greatest size of a process never falls again.
            with ProcessPoolExecutor(1, mp_context=context) as pool:
                costs[name] = pool.submit(cost, side, name, entities, rounds).result()
        ours = costs[rankers[0]]
        for name, one in costs.items():
            yield (
                f"| {entities:,} | {entities * len(KINDS):,} | {name} | {one.seconds:.3f} | "
                f"{one.seconds / ours.seconds:.2f} | {one.megabytes:.0f} | "
                f"{'yes' if one.first else 'no'} |"
            )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranker", action="append", help="of DOS; by default the configured one")
    parser.add_argument("--sizes", default="200,5000", help="numbers of entities, with commas")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rankers = options.ranker or [RcaSettings().ranker.type]
    sizes = [int(one) for one in options.sizes.split(",")]
    out = sys.stdout
    out.write(
        "| entities | series | method | CPU s | ratio | MB more | cause first |\n"
        "| --: | --: | --- | --: | --: | --: | --- |\n"
    )
    for row in rows(rankers, sizes, options.rounds):
        out.write(row + "\n")
        out.flush()


if __name__ == "__main__":
    main()
