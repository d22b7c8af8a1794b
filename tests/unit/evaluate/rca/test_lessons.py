from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from dos.evaluate.rca import habits
from dos.evaluate.rca.habits import vary, with_alarm
from dos.evaluate.rca.kinds import SIMULATED
from dos.evaluate.rca.lessons import RcaLessons, examples_of_voyage, rca_lessons
from dos.evaluate.rca.simulated import SimulatedIncident, VoyageOptions, voyage
from dos.evaluate.rca.stress import quiet, stressed
from dos.model.telemetry import Role
from dos.rca.case import Case
from dos.rca.examples import side_by_side
from dos.rca.inputs import EDGE_INPUTS, NODE_INPUTS, read
from dos.simulate.faults import FaultType
from dos.simulate.kinds import KINDS


@pytest.fixture(scope="module")
def incidents() -> list[SimulatedIncident]:
    options = VoyageOptions(services=(6, 9), steps=(15.0,), history=(60, 80), incidents=3)
    return [*voyage(3, options), *voyage(4, options)]


def test_every_type_of_fault_that_harms_has_a_kind() -> None:
    assert set(SIMULATED) == {one for one in FaultType if not KINDS[one].harmless}


def test_a_varied_case_is_a_case_and_the_same_seed_varies_alike(
    incidents: list[SimulatedIncident],
) -> None:
    for seed, incident in enumerate(incidents * 6):
        one, other = (vary(incident.case, Random(seed)) for _ in range(2))
        np.testing.assert_array_equal(one.values, other.values)
        assert one.series == other.series
        assert one.values.shape == (len(one.times), len(one.series))
        assert len(one.series) > 0
        assert one.start <= one.end
        inputs = read(one)
        assert np.isfinite(inputs.node).all()
        assert inputs.node.shape == (len(inputs.entities), len(NODE_INPUTS))
        assert inputs.edge.shape == (inputs.edges.shape[1], len(EDGE_INPUTS))


@pytest.mark.parametrize("habit", [habit for _, habit in habits._HABITS])
def test_each_habit_copes_with_the_least_of_cases(
    habit: habits._Habit, incidents: list[SimulatedIncident]
) -> None:
    case = incidents[0].case
    one = replace(case, values=case.values[:, :1], series=case.series[:1], graph=None, changes=())
    for least in (one, replace(one, values=np.full_like(one.values, np.nan))):
        changed = habit(least, Random(1), np.random.default_rng(1))
        assert changed.values.shape == (len(changed.times), len(changed.series))


def test_who_is_seldom_asked_is_measured_roughly(incidents: list[SimulatedIncident]) -> None:
    case = incidents[0].case
    seen = [
        habits._seldom_asked(case, Random(seed), np.random.default_rng(seed)) for seed in range(8)
    ]
    latency = np.array([one.role is Role.LATENCY for one in case.series])
    missing = [float(np.isnan(one.values[:, latency]).mean()) for one in seen]
    assert max(missing) > 0.05
    assert not np.isnan(case.values[:, latency]).any()
    traffic = np.array([one.metric == "request_rate" for one in case.series])
    whole = seen[0].values[:, traffic]
    assert np.isfinite(whole).all()


def test_an_alarm_is_one_of_those_that_show_the_most(incidents: list[SimulatedIncident]) -> None:
    case = incidents[0].case
    alarmed = with_alarm(case, Random(1))
    assert alarmed.target is not None
    assert alarmed.target[0] in case.entities()
    on_metric = [with_alarm(case, Random(seed)) for seed in range(20)]
    told = [one for one in on_metric if one.target is not None and one.target[1] is not None]
    assert 5 <= len(told) < 20
    for one in told:
        node = read(one).node
        kinds = node[:, [NODE_INPUTS.index("alarm_slow"), NODE_INPUTS.index("alarm_failing")]]
        assert kinds.any()
        assert (kinds == kinds[0]).all()  # everybody is told the same
    assert not read(case).node[:, NODE_INPUTS.index("alarm_slow")].any()


def test_an_alarm_for_nothing_holds_no_incident(incidents: list[SimulatedIncident]) -> None:
    calm = [quiet(incident.case, Random(seed)) for seed in range(3) for incident in incidents]
    made = [one for one in calm if one is not None]
    assert len(made) > len(calm) // 2
    for one, incident in zip(calm, incidents * 3, strict=True):
        assert one is None or one.end < incident.case.start
    assert all(one.start <= one.end for one in made)


def test_stress_shows_on_the_entity_it_was_put_on(incidents: list[SimulatedIncident]) -> None:
    found = [stressed(incident.case, Random(seed)) for seed in range(4) for incident in incidents]
    made = [one for one in found if one is not None]
    assert len(made) > len(found) // 2
    strongest = 0
    for one in made:
        inputs = read(one.case)
        at = inputs.entities.index(one.entity)
        column = list(NODE_INPUTS).index(f"{one.kind}_up")
        strongest += int(inputs.node[at, column] >= inputs.node[:, column].max() - 1e-6)
    assert strongest > 0.6 * len(made)


def test_stress_needs_some_history(incidents: list[SimulatedIncident]) -> None:
    case = incidents[0].case
    short = replace(case, times=case.times[-5:], values=case.values[-5:])
    assert stressed(short, Random(1)) is None


def test_lessons_come_in_the_order_of_seeds_whoever_makes_them() -> None:
    told: list[float] = []
    one = rca_lessons(RcaLessons(voyages=2, jobs=1), told.append)
    two = rca_lessons(RcaLessons(voyages=2, jobs=2))
    assert told == [0.5, 1.0]
    assert [example.group for example in one] == sorted(example.group for example in one)
    first, second = side_by_side(one).columns, side_by_side(two).columns
    for name, column in first.items():
        np.testing.assert_array_equal(column, second[name])
    assert {example.about for example in one} == {"whole", "varied", "stressed", "quiet", "lost"}


def test_what_a_cause_names_is_right(incidents: list[SimulatedIncident]) -> None:
    for example in examples_of_voyage(5)[:20]:
        for cause in example.causes:
            assert all(0 <= at < len(example.node) for at in cause.entities)


def cut(case: Case) -> Case:
    return replace(case, times=case.times[:0], values=case.values[:0])


def test_nothing_at_all_can_be_read(incidents: list[SimulatedIncident]) -> None:
    empty = cut(incidents[0].case)
    assert np.isfinite(read(empty).node).all()
    none = replace(empty, values=np.zeros((0, 0)), series=(), graph=None)
    assert read(none).node.shape == (0, len(NODE_INPUTS))
