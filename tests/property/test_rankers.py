"""Whatever the case, a ranker concludes something sound."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dos.kit.clock import Millis
from dos.kit.plugins import load, names
from dos.model.change import Change, ChangeKind
from dos.model.entity import Entity
from dos.model.graph import Edge, GraphSnapshot
from dos.model.ids import ChangeId, EntityId
from dos.model.telemetry import Role, SeriesSpec
from dos.rca.base import ROOM
from dos.rca.case import Case

ENTITIES = [EntityId(name) for name in ("a", "b", "c", "d")]
CELLS = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, math.nan, math.inf, -math.inf, 1e300, -1e300, 5e-324]),
    st.floats(-1e6, 1e6),
)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    gaps = draw(st.lists(st.integers(0, 600_000), max_size=20))
    specs = draw(
        st.lists(
            st.builds(
                SeriesSpec,
                entity=st.sampled_from(ENTITIES),
                metric=st.sampled_from(["m", "n"]),
                role=st.sampled_from(Role),
                unit=st.sampled_from(["", "seconds", "ratio", "bytes"]),
            ),
            max_size=6,
        )
    )
    cells = draw(st.lists(CELLS, min_size=len(gaps) * len(specs), max_size=len(gaps) * len(specs)))
    times = np.cumsum(np.array(gaps, dtype=np.int64))
    ends = st.sampled_from([*ENTITIES, EntityId("elsewhere")])
    edges = draw(st.lists(st.builds(Edge, caller=ends, callee=ends), max_size=8))
    graph = GraphSnapshot(entities=tuple(Entity(id=e) for e in ENTITIES), edges=tuple(edges))
    moment = st.integers(-1000, 3_000_000).map(Millis)
    change = st.builds(
        Change, id=st.just(ChangeId("c")), at=moment, kind=st.just(ChangeKind.FLAG), entity=ends
    )
    return Case(
        times=times,
        values=np.array(cells, dtype=np.float64).reshape(len(gaps), len(specs)),
        series=tuple(specs),
        graph=draw(st.sampled_from([None, graph])),
        start=draw(moment),
        end=draw(moment),
        changes=tuple(draw(st.lists(change, max_size=2))),
        target=draw(st.sampled_from([None, (ENTITIES[0], "m"), (EntityId("elsewhere"), None)])),
        abnormal=draw(st.sampled_from([None, frozenset(), frozenset(ENTITIES[:1])])),
    )


@pytest.mark.parametrize("name", names(ROOM))
@given(case=cases())
def test_any_case_yields_a_sound_conclusion(name: str, case: Case) -> None:
    plugin = load(ROOM, name)
    ranker = plugin.build(plugin.config())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cause = ranker.rank(case)
        scores = ranker.score(case)
    chances = [one.probability for one in cause.ranked]
    assert sum(chances) + cause.unknown == pytest.approx(1, abs=1e-9)
    assert all(0 < one <= 1 for one in chances)
    assert chances == sorted(chances, reverse=True)
    known = {one.id for one in case.graph.entities} if case.graph is not None else set()
    assert set(case.entities()) <= set(scores.entities) <= known | set(case.entities())
    assert len(set(scores.entities)) == len(scores.entities)
    assert np.isfinite(scores.score).all()
    assert all(math.isfinite(e.weight) for h in cause.ranked for e in h.evidence)
    assert all(e.text for h in cause.ranked for e in h.evidence)
    if not case.series or not np.isfinite(case.values).any():
        assert cause.unknown == 1
