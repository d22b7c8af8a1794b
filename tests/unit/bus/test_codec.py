from __future__ import annotations

import json
import struct

import numpy as np
import pytest

from dos.bus.codec import decode, encode
from dos.kit.clock import Millis
from dos.kit.errors import CorruptDataError, PermanentError
from dos.model.alert import Acknowledgement, PostedAlert
from dos.model.change import Change, ChangeKind
from dos.model.entity import Entity, EntityKind
from dos.model.feedback import Feedback, FeedbackKind, Signal
from dos.model.graph import EdgeEvidence
from dos.model.ids import AlertId, ChangeId, EntityId, FeedbackId, SeriesId
from dos.model.intake import Intake
from dos.model.matchers import parse_matchers
from dos.model.silence import Silence
from dos.model.telemetry import MetricBatch, MetricKind, Role, Series, SeriesSpec
from tests.unit.bus.intakes import batch, same


def full() -> Intake:
    spec = SeriesSpec(
        entity=EntityId("shop/checkout"),
        metric="latency_p95",
        labels=(("code", "500"), ("path", "/é")),
        role=Role.LATENCY,
        unit="seconds",
        kind=MetricKind.COUNTER,
    )
    return Intake(
        now=Millis(1_790_000_000_123),
        source="prometheus",
        history=True,
        series=(Series(id=SeriesId(7), spec=spec),),
        metrics=batch([7, 8, 7], [10, 10, 25], [0.1, -1e300, 5e-324]),
        entities=(Entity(id=EntityId("db"), kind=EntityKind.DATABASE, attributes=(("a", "b"),)),),
        edges=(
            EdgeEvidence(
                caller=EntityId("a"),
                callee=EntityId("db"),
                source="declared",
                seen_at=Millis(5),
                confidence=0.3,
            ),
        ),
        changes=(Change(id=ChangeId("chg-1"), at=Millis(4), kind=ChangeKind.FLAG),),
    )


def told() -> Intake:
    said = Feedback(
        id=FeedbackId("fb-1"),
        kind=FeedbackKind.FALSE,
        author="ann",
        given_at=Millis(9),
        start=Millis(1),
        end=Millis(5),
        signals=(Signal(entity=EntityId("db"), metric="latency_p95", strength=1.5),),
    )
    return Intake(now=Millis(9), source="feedback", feedback=(said,))


def posted() -> Intake:
    alert = PostedAlert(
        labels=(("alertname", "Düster"), ("service", "db")),
        starts_at=Millis(3),
        updated_at=Millis(9),
    )
    said = Acknowledgement(alert=AlertId("alr-1"), by="ann", at=Millis(5), note="on it")
    silence = Silence(
        id="1",
        matchers=parse_matchers('service=~"d.*",env!="test"'),
        starts_at=Millis(1),
        ends_at=Millis(99),
        created_by="ann",
        comment="disks",
        updated_at=Millis(9),
    )
    return Intake(
        now=Millis(9), source="push", alerts=(alert,), silences=(silence,), acknowledgements=(said,)
    )


@pytest.mark.parametrize(
    "intake",
    [
        full(),
        told(),
        posted(),
        Intake(now=Millis(5)),
        Intake(now=Millis(5), metrics=batch([0, 1], [9, 9], [1.5, 2.5])),
        Intake(now=Millis(0), metrics=batch([3], [-5], [float("nan")])),
    ],
    ids=["full", "feedback", "alerts", "heartbeat", "one time", "not a number"],
)
def test_there_and_back(intake: Intake) -> None:
    data = encode(intake)
    assert same(decode(data), intake)
    assert encode(decode(data)) == data


def test_descriptions_that_do_not_count_for_equality_are_kept() -> None:
    spec = decode(encode(full())).series[0].spec
    assert (spec.role, spec.unit, spec.kind) == (Role.LATENCY, "seconds", MetricKind.COUNTER)


def test_arrays_are_aligned_and_of_the_model_s_types() -> None:
    metrics = decode(encode(full())).metrics
    assert (metrics.series_id.dtype, metrics.timestamp.dtype, metrics.value.dtype) == (
        np.int32,
        np.int64,
        np.float64,
    )
    assert metrics.value.flags.aligned
    assert metrics.timestamp.flags.aligned


def test_columns_that_are_slices_of_others_are_written_right() -> None:
    wide = np.arange(20, dtype=np.float64)
    part = MetricBatch(
        series_id=np.arange(20, dtype=np.int32)[::2],
        timestamp=np.arange(20, dtype=np.int64)[::2],
        value=wide[::2],
    )
    assert decode(encode(Intake(now=Millis(1), metrics=part))).metrics.value.tolist() == (
        wide[::2].tolist()
    )


def test_samples_of_one_time_cost_twelve_bytes() -> None:
    def size(count: int) -> int:
        ids = list(range(count))
        return len(encode(Intake(now=Millis(1), metrics=batch(ids, [7] * count, ids))))

    assert size(2000) - size(1000) == 12_000


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "0 bytes is too short"),
        (b"\x01\x00\x00\x00x", "header that cannot be read"),
        (encode(full())[:-1], "3 samples should have"),
        (encode(full()) + b"x", "3 samples should have"),
    ],
)
def test_damage_is_named(data: bytes, message: str) -> None:
    with pytest.raises(CorruptDataError, match=message):
        decode(data)


def test_only_an_entry_with_feedback_needs_the_newer_format() -> None:
    assert json.loads(encode(told())[4:])["version"] == 2
    plain = json.loads(encode(Intake(now=Millis(5)))[4:])
    assert plain["version"] == 1
    assert "feedback" not in plain


def test_a_newer_format_is_refused() -> None:
    data = encode(Intake(now=Millis(5)))
    header = json.loads(data[4:])
    header["version"] = 6
    newer = json.dumps(header).encode()
    with pytest.raises(PermanentError, match="format 6; this DOS reads up to 5"):
        decode(struct.pack("<I", len(newer)) + newer)
