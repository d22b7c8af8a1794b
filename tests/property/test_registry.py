"""The registry against a plain list: ids are dense, the first sight counts, a log rebuilds it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dos.model.ids import EntityId, SeriesId
from dos.model.registry import ROLE_CODES, SeriesRegistry
from dos.model.telemetry import Role, Series, SeriesSpec

SPECS = st.builds(
    SeriesSpec,
    entity=st.sampled_from([EntityId(name) for name in ("cart", "db", "web")]),
    metric=st.sampled_from(["latency", "errors"]),
    labels=st.sampled_from([(), (("code", "500"),)]),
    role=st.sampled_from(Role),
)


@given(specs=st.lists(SPECS, max_size=40))
def test_interning(specs: list[SeriesSpec]) -> None:
    registry, model = SeriesRegistry(), list[SeriesSpec]()
    for spec in specs:
        known = spec in model
        assert registry.find(spec) == (model.index(spec) if known else None)
        series, fresh = registry.intern(spec)
        if not known:
            model.append(spec)
        assert fresh is not known
        assert series.id == model.index(spec)
        assert series.spec.role is model[series.id].role, "the first sight decides"
    assert len(registry) == len(model)
    assert [one.spec for one in registry.since(0)] == model
    entities = registry.entities
    assert entities == list(dict.fromkeys(spec.entity for spec in model))
    assert [entities[i] for i in registry.entity_index] == [spec.entity for spec in model]
    assert registry.role_code.tolist() == [ROLE_CODES[spec.role] for spec in model]
    for entity in entities:
        mine = [i for i, spec in enumerate(model) if spec.entity == entity]
        assert registry.of_entity(entity) == mine
    assert registry.of_entity(EntityId("nobody")) == ()


@given(specs=st.lists(SPECS, max_size=30), cuts=st.lists(st.integers(0, 30), max_size=4))
def test_a_log_of_series_rebuilds_it_also_when_parts_come_twice(
    specs: list[SeriesSpec], cuts: list[int]
) -> None:
    original, rebuilt = SeriesRegistry(), SeriesRegistry()
    for spec in specs:
        original.intern(spec)
    whole = original.since(0)
    for cut in sorted(cuts):
        rebuilt.add(whole[:cut])
        assert len(rebuilt) == min(cut, len(whole))
        assert len(rebuilt.entity_index) == len(rebuilt)
    rebuilt.add(whole)
    assert rebuilt.since(0) == whole
    assert rebuilt.entity_index.tolist() == original.entity_index.tolist()


def test_gaps_and_contradictions_are_refused() -> None:
    cart = SeriesSpec(entity=EntityId("cart"), metric="latency")
    registry = SeriesRegistry()
    with pytest.raises(ValueError, match="series 1 leaves a gap after -1"):
        registry.add([Series(id=SeriesId(1), spec=cart)])
    registry.intern(cart)
    other = SeriesSpec(entity=EntityId("db"), metric="latency")
    with pytest.raises(ValueError, match="series 0 is 'cart latency' already"):
        registry.add([Series(id=SeriesId(0), spec=other)])
    assert registry[0].spec == cart
