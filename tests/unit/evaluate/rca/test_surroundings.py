from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from dos.evaluate.rca.simulated import SimulatedIncident, VoyageOptions, voyage
from dos.evaluate.rca.surroundings import addressed, closed_loop
from dos.model.entity import EntityKind
from dos.model.telemetry import Role
from dos.rca.case import Case
from dos.rca.inputs import read


@pytest.fixture(scope="module")
def case() -> Case:
    options = VoyageOptions(services=(6, 9), steps=(15.0,), history=(60, 80), incidents=3)
    incidents: list[SimulatedIncident] = [*voyage(3, options), *voyage(4, options)]
    return incidents[0].case


def _slowed(case: Case, rows: slice, factor: float) -> Case:
    doors = set(case.graph.entry_points()) if case.graph else set()
    values = case.values.copy()
    for at, one in enumerate(case.series):
        if one.entity in doors and one.role is Role.LATENCY:
            values[:, at] = 0.1
            values[rows, at] = 0.1 * factor
    return replace(case, values=values)


def test_users_who_wait_ask_less_where_answers_are_slow(case: Case) -> None:
    late = slice(len(case.times) - 10, None)
    slowed = _slowed(case, late, 50.0)
    found = closed_loop(slowed, Random(1))
    traffic = np.array([one.role is Role.TRAFFIC for one in case.series])
    memory = np.array(["memory" in one.metric for one in case.series])
    np.testing.assert_array_equal(found.values[:-10, traffic], slowed.values[:-10, traffic])
    before, after = slowed.values[late][:, traffic], found.values[late][:, traffic]
    assert np.nansum(after) < 0.6 * np.nansum(before)
    assert np.nanmin(found.values[:, traffic]) >= 0
    np.testing.assert_array_equal(found.values[:, memory], slowed.values[:, memory])


def test_an_address_shows_what_is_behind_it_and_nobody_says_so(case: Case) -> None:
    found = addressed(case, Random(2))
    graph = found.graph
    assert graph is not None
    new = [one for one in graph.entities if case.graph and case.graph.entity(one.id) is None]
    assert new
    assert all(one.kind is EntityKind.EXTERNAL for one in new)
    for one in new:
        assert not graph.callees(one.id)
        assert len(graph.callers(one.id)) == 1
        assert any(spec.entity == one.id for spec in found.series)
    assert list(graph.entities) == sorted(graph.entities, key=lambda one: one.id)
    assert np.isfinite(read(found).node).all()


@pytest.mark.parametrize("surrounding", [closed_loop, addressed])
def test_they_cope_with_the_least_of_cases(surrounding, case: Case) -> None:
    one = replace(case, values=case.values[:, :1], series=case.series[:1])
    for least in (
        one,
        replace(one, graph=None),
        replace(case, values=np.full_like(case.values, np.nan)),
        replace(case, values=case.values[:0], times=case.times[:0]),
    ):
        changed = surrounding(least, Random(1))
        assert changed.values.shape == (len(changed.times), len(changed.series))
