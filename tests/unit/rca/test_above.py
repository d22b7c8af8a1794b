"""Dependents of all entities at once are those of a walk from each."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import numpy as np
import pytest

from dos.model.ids import EntityId
from dos.rca.above import total_above
from dos.testing.rankers import graph_of


@pytest.mark.parametrize("seed", range(60))
def test_the_totals_are_those_of_walks(seed: int) -> None:
    rng = Random(seed)
    names = [EntityId(f"e{i}") for i in range(rng.randint(1, 14))]
    calls = [(a, b) for a in names for b in names if rng.random() < 0.12]
    graph = graph_of(calls)
    # Some are not measured, and stand in no array; some are measured and in no graph.
    measured = [one for one in names if rng.random() < 0.8] + [EntityId("alone")]
    place = {entity: at for at, entity in enumerate(measured)}
    value = np.array([rng.random() for _ in measured])
    wanted = [
        sum(value[place[e]] for e in graph.dependents(entity) if e in place and e != entity)
        for entity in measured
    ]
    assert np.allclose(total_above(graph, place, value), wanted)


def test_a_chain_of_thousands_is_no_trouble() -> None:
    names = [EntityId(f"e{i:05}") for i in range(3000)]
    graph = graph_of([*pairwise(names)])
    place = {entity: at for at, entity in enumerate(names)}
    found = total_above(graph, place, np.ones(len(names)))
    assert found.tolist() == list(range(3000))
