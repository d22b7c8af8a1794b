from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dos.model.entity import Entity
from dos.model.graph import Edge, EdgeKind, GraphSnapshot
from dos.model.ids import EntityId
from tests.unit.incidents.timeline import graph_of

SHOP = graph_of("web > cart > db", "web > search > db", "cart > cache", "job")


def test_who_calls_whom() -> None:
    assert SHOP.callees(EntityId("web")) == ["cart", "search"]
    assert SHOP.callers(EntityId("db")) == ["cart", "search"]
    assert sorted(SHOP.neighbours(EntityId("cart"))) == ["cache", "db", "web"]
    assert SHOP.callees(EntityId("nobody")) == ()
    assert SHOP.entity(EntityId("job")) == Entity(id=EntityId("job"))
    assert SHOP.entity(EntityId("nobody")) is None
    assert SHOP.entry_points() == ["web"]


def test_distances_along_and_against_the_calls() -> None:
    assert SHOP.dependents(EntityId("db")) == {"db": 0, "cart": 1, "search": 1, "web": 2}
    assert SHOP.dependencies(EntityId("cart")) == {"cart": 0, "db": 1, "cache": 1}
    assert SHOP.dependents(EntityId("db"), 1) == {"db": 0, "cart": 1, "search": 1}
    assert SHOP.around(EntityId("cache"), 2) == {"cache": 0, "cart": 1, "web": 2, "db": 2}
    assert SHOP.around(EntityId("job"), 9) == {"job": 0}
    assert SHOP.around(EntityId("nobody"), 2) == {"nobody": 0}


def test_two_kinds_of_call_are_one_neighbour() -> None:
    a, b = EntityId("a"), EntityId("b")
    edges = tuple(Edge(caller=a, callee=b, kind=kind) for kind in (EdgeKind.CALL, EdgeKind.READ))
    graph = GraphSnapshot(entities=(Entity(id=a), Entity(id=b)), edges=edges)
    assert graph.callees(a) == [b]
    assert graph.callers(b) == [a]


@pytest.mark.parametrize("depth", [0, 1, 2, None])
@given(data=st.data())
def test_cycles_end_and_near_is_mutual(depth: int | None, data: st.DataObject) -> None:
    names = [EntityId(name) for name in "abcde"]
    pairs = data.draw(st.lists(st.tuples(st.sampled_from(names), st.sampled_from(names))))
    graph = GraphSnapshot(
        entities=tuple(Entity(id=name) for name in names),
        edges=tuple(Edge(caller=a, callee=b) for a, b in pairs),
    )
    for one in names:
        for other, distance in graph.dependents(one, depth).items():
            assert graph.dependencies(other, depth)[one] == distance
        if depth is not None:
            for other, distance in graph.around(one, depth).items():
                assert distance <= depth
                assert graph.around(other, depth)[one] == distance
