"""Whatever is known of an incident, its impact is sound, and the same each time."""

from __future__ import annotations

import math
import warnings

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from dos.impact.analyzer import ImpactAnalyzer
from dos.impact.base import ImpactConfig, Slo
from dos.impact.signals import Telemetry
from dos.kit.clock import Millis
from dos.model.anomaly import Anomaly, Direction
from dos.model.entity import Entity, EntityKind
from dos.model.graph import Edge, EdgeKind, GraphSnapshot
from dos.model.ids import AnomalyId, EntityId, SeriesId
from dos.model.impact import Estimate, Impact, SloKind, SloStatus, Standing
from dos.model.telemetry import Role, SeriesSpec

STORED: TypeAdapter[Impact] = TypeAdapter(Impact)
NAMES = [EntityId(name) for name in ("a", "b", "c", "elsewhere")]
ENTITIES = st.sampled_from(NAMES)
CELLS = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, math.nan, math.inf, -math.inf, 1e300, -1e300, 5e-324]),
    st.floats(-1e3, 1e3),
    st.floats(0.0, 1.0),
)
MOMENTS = st.integers(-1000, 3_000_000).map(Millis)
CONFIG = ImpactConfig(
    weights={"a": 0.0},
    entry_points=("b", "nowhere"),
    default_users_per_request=0.5,
    default_revenue_per_request=1e9,
    revenue_lost_when_slow=1.0,
    slos=(
        Slo(entity="a", objective=0.999999),
        Slo(entity="b", objective=0.5, kind=SloKind.LATENCY, threshold=0.1, window=60.0),
    ),
)


@st.composite
def windows(draw: st.DrawFn) -> Telemetry:
    gaps = draw(st.lists(st.integers(0, 120_000), max_size=40))
    specs = draw(
        st.lists(
            st.builds(
                SeriesSpec,
                entity=ENTITIES,
                metric=st.sampled_from(
                    ["request_rate", "errors", "latency_p95", "latency_p50", "error_ratio", "x"]
                ),
                role=st.sampled_from(Role),
                unit=st.sampled_from(["", "seconds", "ratio", "1/s"]),
                labels=st.sampled_from([(), (("route", "r"),), (("quantile", "0.9"),)]),
            ),
            max_size=6,
        )
    )
    count = len(gaps) * len(specs)
    cells = draw(st.lists(CELLS, min_size=count, max_size=count))
    return Telemetry(
        times=np.cumsum(np.array(gaps, dtype=np.int64)),
        values=np.array(cells, dtype=np.float64).reshape(len(gaps), len(specs)),
        series=tuple(specs),
        start=draw(MOMENTS),
        end=draw(MOMENTS),
        past=tuple(draw(st.lists(st.tuples(MOMENTS, MOMENTS), max_size=2))),
    )


ANOMALIES = st.builds(
    Anomaly,
    id=st.just(AnomalyId("x")),
    series_id=st.just(SeriesId(0)),
    entity=ENTITIES,
    metric=st.sampled_from(["m", "hit_ratio"]),
    role=st.sampled_from(Role),
    started_at=MOMENTS,
    decided_at=MOMENTS,
    direction=st.sampled_from(Direction),
    deviation=st.floats(-1e6, 1e6),
    score=st.floats(0.0, 1.0),
    observed=st.floats(-1e6, 1e6),
    expected=st.floats(-1e6, 1e6),
    lower=st.just(0.0),
    upper=st.just(1.0),
    detector=st.just("d"),
)
GRAPHS = st.builds(
    lambda edges, kind: GraphSnapshot(
        entities=tuple(Entity(id=one, kind=kind) for one in NAMES[:3]), edges=tuple(edges)
    ),
    st.lists(
        st.builds(Edge, caller=ENTITIES, callee=ENTITIES, kind=st.sampled_from(EdgeKind)),
        max_size=8,
    ),
    st.sampled_from([EntityKind.SERVICE, EntityKind.GATEWAY]),
)


@given(
    abnormal=st.lists(ENTITIES, max_size=4),
    root=st.one_of(st.none(), ENTITIES),
    graph=GRAPHS,
    anomalies=st.lists(ANOMALIES, max_size=5),
    telemetry=st.one_of(st.none(), windows()),
)
def test_whatever_comes_in_the_impact_is_sound(
    abnormal: list[EntityId],
    root: EntityId | None,
    graph: GraphSnapshot,
    anomalies: list[Anomaly],
    telemetry: Telemetry | None,
) -> None:
    subject = ImpactAnalyzer(CONFIG)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = subject.assess(abnormal, root, graph, anomalies, telemetry=telemetry)
        assert subject.assess(abnormal, root, graph, anomalies, telemetry=telemetry) == found
        check(found, abnormal)
        later = subject.assess(abnormal, root, graph, anomalies, telemetry=telemetry, before=found)
        check(later, abnormal)
        if telemetry is not None:
            check(subject.tally(found, graph, telemetry=telemetry), abnormal)


def check(found: Impact, abnormal: list[EntityId]) -> None:
    assert STORED.validate_json(STORED.dump_json(found)) == found
    assert 0.0 <= found.score <= 1.0
    assert found.predicted is not None
    assert 0.0 <= found.predicted <= 1.0
    assert found.reasons
    assert set(abnormal) <= {one.entity for one in found.affected}
    for one in found.affected:
        assert one.abnormal is (one.standing is Standing.ABNORMAL)
        assert (one.risk is None) is (one.standing is not Standing.AT_RISK)
        assert one.risk is None or 0.0 <= one.risk <= 1.0
    for entry in found.entries:
        counts = (entry.failed, entry.slowed, entry.users, entry.revenue)
        for estimate in (*counts, entry.failing, entry.slowing):
            sound(estimate)
        for share in (entry.failing, entry.slowing):
            assert share is None or share.high <= 1.0
        assert entry.requests is None or entry.requests >= 0.0
        assert entry.failed is not None or entry.unknown
    for slo in found.slos:
        assert_sound(slo)


def sound(estimate: Estimate | None) -> None:
    if estimate is not None:
        assert 0.0 <= estimate.low <= estimate.value <= estimate.high < math.inf


def assert_sound(slo: SloStatus) -> None:
    assert (slo.burned is None) is bool(slo.unknown)
    numbers = [slo.burned, slo.by_incident, slo.exhausted_in]
    for burn in slo.burns:
        numbers += [burn.rate, burn.rate_now]
        assert 0.0 <= burn.covered <= 1.0
    assert all(one is None or 0.0 <= one < math.inf for one in numbers)
