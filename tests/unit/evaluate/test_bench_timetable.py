"""When what breaks in a flight, and which flights there are."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from dos.evaluate.bench.flight import (
    WORLDS,
    BenchOptions,
    Flight,
    FlightKind,
    Split,
    parse_world,
    quick,
)
from dos.evaluate.bench.timetable import REST, Timetable, timetable
from dos.kit.clock import SECOND, Millis
from dos.kit.errors import ConfigError
from dos.simulate.kinds import KINDS
from dos.simulate.scenario import Scenario, eligible


def flight(kind: FlightKind = FlightKind.FAULTS, world: str = "shop", seed: int = 1) -> Flight:
    quiet = 1_800.0 if kind is FlightKind.FAULTS else 7 * 86_400.0
    return Flight(kind=kind, world=world, seed=seed, step=5.0, history=7_200.0, quiet=quiet)


def spans(table: Timetable) -> list[tuple[float, float]]:
    """Start and end of each fault that is one, in order."""
    built = [(one, one.build()) for one in table.faults if not KINDS[one.fault].harmless]
    return [(one.at, one.at + fault.duration + fault.recovery) for one, fault in built]


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("seed", [0, 10_000])
def test_every_type_that_fits_occurs_on_a_target_that_can_have_it(world: str, seed: int) -> None:
    one = flight(world=world, seed=seed)
    table = timetable(one)
    there = parse_world(world).build(seed)
    counts = Counter(fault.fault for fault in table.faults)
    wanted = {kind for kind in KINDS if eligible(there, kind)}
    assert set(counts) == wanted
    harmless = {kind for kind in wanted if KINDS[kind].harmless}
    assert all(counts[kind] == 1 for kind in wanted - harmless)
    assert all(1 <= counts[kind] <= 2 for kind in harmless)
    Scenario(table.faults, there, Millis(0))  # refuses a target that does not fit


def test_the_quiet_end_has_nothing_in_it() -> None:
    table = timetable(flight())
    assert table.length == pytest.approx(
        max(one.at + one.build().duration + one.build().recovery for one in table.faults) + 1_800.0
    )


def test_faults_come_alone_or_at_once_and_rest_between() -> None:
    met, rests = 0, 0
    for seed in range(20):
        ends = 0.0
        for start, end in spans(timetable(flight(seed=seed))):
            if start < ends:
                met += 1
            else:
                assert start - ends >= REST[0] - 0.2  # times are written with one decimal
                rests += 1
            ends = max(ends, end)
    assert 0.05 < met / (met + rests) < 0.3


def test_what_comes_at_once_comes_elsewhere() -> None:
    pairs = 0
    for seed in range(20):
        faults = timetable(flight(seed=seed)).faults
        for before, after in pairwise(faults):
            if after.at < before.at + before.duration:
                pairs += 1
                assert before.target != after.target
    assert pairs > 20


def test_the_same_flight_has_the_same_timetable_and_another_has_not() -> None:
    assert timetable(flight()) == timetable(flight())
    others = [flight(seed=2), flight(world="sketch"), flight(FlightKind.QUIET)]
    assert all(timetable(other).faults != timetable(flight()).faults for other in others)


def test_flights_begin_at_all_hours_and_on_all_days() -> None:
    starts = [timetable(flight(seed=seed)).start // (3600 * SECOND) for seed in range(60)]
    assert len({start % 24 for start in starts}) > 12
    assert len({start // 24 for start in starts}) == 7


def test_a_quiet_week_has_harmless_events_only() -> None:
    table = timetable(flight(FlightKind.QUIET))
    assert len(table.faults) > 10
    assert {one.fault for one in table.faults} == {kind for kind in KINDS if KINDS[kind].harmless}
    assert all(0 < one.at < table.length == 7 * 86_400.0 for one in table.faults)


class TestOptions:
    def test_held_out_seeds_are_none_of_development(self) -> None:
        held = {one.seed for one in BenchOptions(seeds=30).flights()}
        dev = {one.seed for one in BenchOptions(seeds=1000, split=Split.DEV).flights()}
        assert held == set(range(10_000, 10_030))
        assert held.isdisjoint(dev)

    def test_each_world_and_seed_is_flown_both_ways(self) -> None:
        flights = BenchOptions(worlds=("shop", "generated:8"), seeds=2).flights()
        assert len(flights) == len(set(flights)) == 8
        assert {one.step for one in flights if one.kind is FlightKind.FAULTS} == {5.0}
        assert {one.quiet for one in flights if one.kind is FlightKind.QUIET} == {7 * 86_400.0}

    def test_the_quick_one_is_small(self) -> None:
        assert len(quick().flights()) == 2

    @pytest.mark.parametrize("text", ["atlantis", "shop:3", "generated:", "generated:3", "", ":5"])
    def test_a_world_that_is_none_is_refused(self, text: str) -> None:
        with pytest.raises(ConfigError):
            parse_world(text)
        with pytest.raises(ConfigError):
            BenchOptions(worlds=(text,))

    @pytest.mark.parametrize("changed", [{"seeds": 0}, {"seeds": 1001}, {"jobs": 0}])
    def test_numbers_out_of_range_are_refused(self, changed: dict[str, int]) -> None:
        with pytest.raises(ConfigError):
            BenchOptions(**changed)

    def test_no_world_is_refused(self) -> None:
        with pytest.raises(ConfigError):
            BenchOptions(worlds=())

    def test_a_world_may_be_a_file(self, tmp_path: Path) -> None:
        path = tmp_path / "mine.yaml"
        path.write_text("nonsense: [", "utf-8")
        with pytest.raises(ConfigError, match=r"mine\.yaml"):
            parse_world(str(path))

    def test_a_generated_world_has_a_size_and_differs_by_seed(self) -> None:
        world = parse_world("generated:30")
        assert len(world.build(1).services) == 30
        assert world.build(1) != world.build(2)
