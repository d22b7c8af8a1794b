"""The replica that differs is found; what all of them do at once, and usual unevenness, is not."""

from __future__ import annotations

import numpy as np
import pytest

from dos.kit.plugins import load
from dos.model.ids import EntityId
from dos.model.telemetry import Float64Array, Role, SeriesSpec
from dos.simulate.engine import Simulation
from dos.simulate.faults import Fault, FaultType
from dos.simulate.worlds import world
from dos.testing.detectors import ROOM, Stream, deviations


def replicas(count: int, entity: str = "cart", metric: str = "cpu") -> list[SeriesSpec]:
    return [
        SeriesSpec(
            entity=EntityId(entity),
            metric=metric,
            labels=(("k8s.replica", str(place)),),
            role=Role.SATURATION,
            unit="ratio",
        )
        for place in range(count)
    ]


def shared(count: int, width: int, seed: int) -> Float64Array:
    """`[time, replica]` a load that swings, shared unevenly."""
    rng = np.random.default_rng(seed)
    load = 0.4 + 0.2 * np.sin(np.arange(count) / 50.0)
    uneven = 1.0 + 0.06 * rng.standard_normal(width)
    return load[:, None] * uneven * (1.0 + 0.03 * rng.standard_normal((count, width)))


@pytest.mark.parametrize("width", [3, 4, 12])
@pytest.mark.parametrize("factor", [0.2, 1.7])
def test_the_odd_one_is_found_and_no_other(width: int, factor: float) -> None:
    for seed in range(5):
        values = shared(500, width, seed)
        values[400:, 1] *= factor
        z = deviations("peer_group", values, specs=replicas(width))
        assert np.abs(z[:400]).max() < 6
        assert np.sign(factor - 1) * z[400:403, 1].min() > 0
        assert np.abs(z[400:403, 1]).max() > 6
        assert np.abs(np.delete(z, 1, axis=1)).max() < 6


def test_healthy_replicas_hardly_ever_reach_the_threshold() -> None:
    parts = [shared(1500, 5, seed) for seed in range(10)]
    specs = [spec for place in range(10) for spec in replicas(5, f"service-{place}")]
    z = deviations("peer_group", np.column_stack(parts), specs=specs)
    assert (np.abs(z) > 6).mean() < 1e-4


def test_a_surge_that_all_get_is_no_news() -> None:
    values = shared(500, 4, 1)
    values[300:] *= 2.2
    assert np.abs(deviations("peer_group", values, specs=replicas(4))).max() < 6


def test_two_replicas_cannot_be_told_apart() -> None:
    values = shared(300, 2, 2)
    values[200:, 0] *= 3
    assert np.abs(deviations("peer_group", values, specs=replicas(2))).max() == 0.0


def test_only_the_replica_may_differ_in_the_labels() -> None:
    base = [("code", "500"), ("pod", "a")]
    labels = [base, [("code", "500"), ("pod", "b")], [("code", "200"), ("pod", "a")], []]
    specs = [
        SeriesSpec(entity=EntityId("a"), metric="requests", labels=tuple(one)) for one in labels
    ]
    plugin = load(ROOM, "peer_group")
    columns = Stream(plugin.build(plugin.config()), specs).columns
    group = np.asarray(columns["group"])
    assert group[0] == group[1] != group[2]
    assert group[3] == 0
    assert np.asarray(columns["next"]).tolist() == [1, 0, 0, 0]


def test_a_new_replica_joins_and_a_gone_one_is_left_out() -> None:
    plugin = load(ROOM, "peer_group")
    stream = Stream(plugin.build(plugin.config()), replicas(4))
    values = shared(700, 4, 3)
    for line in values[:300]:
        stream.feed([*line[:3], np.nan])  # the fourth is still to come
    for line in values[300:500]:
        stream.feed(line)
    worst = 0.0
    for line in values[500:]:
        scored = stream.feed([np.nan, *line[1:]])  # the first has gone
        worst = max(worst, float(np.abs(scored.deviation[scored.ready]).max()))
    assert worst < 6
    assert scored.ready.all()


def test_the_band_follows_the_others() -> None:
    plugin = load(ROOM, "peer_group")
    stream = Stream(plugin.build(plugin.config()), replicas(4))
    values = shared(400, 4, 4)
    for line in values:
        scored = stream.feed(line)
    assert scored.expected == pytest.approx(values[-1], rel=0.1)


def test_the_leaking_replica_of_a_simulated_service_is_the_one() -> None:
    """The memory of a leaking service is that of its fullest replica, which is killed first."""
    simulation = Simulation(world("shop", seed=3), seed=3, step_seconds=15.0)
    simulation.measure_replicas()
    healthy = simulation.ticks(300)
    target = EntityId("frontend")
    simulation.inject(
        Fault(type=FaultType.MEMORY_LEAK, target=target, severity=0.9, duration=900.0)
    )
    leaking = simulation.ticks(20)
    picked = [place for place, spec in enumerate(healthy.series) if spec.labels]
    tables = [one.value.reshape(-1, len(one.series))[:, picked] for one in (healthy, leaking)]
    specs = [healthy.series[place] for place in picked]
    z = deviations("peer_group", np.concatenate(tables), specs=specs, step=15.0)
    assert np.abs(z[:300]).max() < 6
    odd = np.flatnonzero((z[300:] > 6).any(axis=0))
    assert [(specs[place].entity, specs[place].metric) for place in odd] == [
        (target, "container_memory_usage")
    ]
