"""The intake: one delivery or many, the pipeline gets the same samples."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dos.ingest.base import Delivery
from dos.ingest.normalise import Normaliser
from dos.kit.clock import Millis
from dos.model.ids import EntityId
from dos.model.registry import SeriesRegistry
from dos.model.telemetry import MetricKind, SampleFrame, SeriesSpec

SERIES = tuple(
    SeriesSpec(entity=EntityId("e"), metric=f"m{number}", kind=kind)
    for number, kind in enumerate([MetricKind.GAUGE, MetricKind.COUNTER] * 2)
)
NOW = Millis(10_000_000)
Sample = tuple[int, int, float]
samples = st.lists(
    st.tuples(
        st.integers(0, len(SERIES) - 1),
        st.integers(0, 900_000),
        st.sampled_from([0.0, 1.0, 2.5, 1e9, math.nan, math.inf]),
    ),
    max_size=60,
)


def delivery(some: list[Sample]) -> Delivery:
    return Delivery(
        frame=SampleFrame(
            series=SERIES,
            index=np.array([row for row, _, _ in some], np.int32),
            timestamp=np.array([at for _, at, _ in some], np.int64),
            value=np.array([value for _, _, value in some], np.float64),
        )
    )


def run(parts: list[list[Sample]]) -> tuple[list[Sample], dict[str, int]]:
    normaliser = Normaliser(SeriesRegistry())
    normaliser.take(NOW, "s", delivery([]))  # the same ids in every run
    out: list[Sample] = []
    for part in parts:
        batch = normaliser.take(NOW, "s", delivery(part)).metrics
        assert (np.diff(batch.timestamp) >= 0).all()
        assert np.isfinite(batch.value).all()
        columns = (batch.series_id.tolist(), batch.timestamp.tolist(), batch.value.tolist())
        out += zip(*columns, strict=True)
    counts = normaliser.counts("s")
    assert counts.accepted == len(out)
    assert counts.accepted + sum(counts.refused.values()) == sum(map(len, parts))
    return sorted(out), dict(counts.refused)


@given(samples)
def test_all_at_once_or_one_at_a_time(some: list[Sample]) -> None:
    in_order = sorted(some, key=lambda sample: sample[1])
    assert run([in_order]) == run([[one] for one in in_order])


@given(samples, st.randoms(use_true_random=False))
def test_order_within_a_delivery_does_not_matter(some: list[Sample], rng: object) -> None:
    unique = list({(row, at): (row, at, value) for row, at, value in some}.values())
    shuffled = list(unique)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    assert run([unique]) == run([shuffled])


@given(samples)
def test_what_is_delivered_again_is_dropped(some: list[Sample]) -> None:
    once, _ = run([some])
    twice, _ = run([some, some])
    assert once == twice
