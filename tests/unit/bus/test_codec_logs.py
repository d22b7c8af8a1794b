from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dos.bus.codec import decode, encode
from dos.bus.codec_logs import decode_logs, encode_logs
from dos.kit.clock import Millis
from dos.kit.errors import CorruptDataError
from dos.model.ids import EntityId
from dos.model.intake import Intake
from dos.model.logs import LogBatch, LogLine

lines = st.lists(
    st.builds(
        LogLine,
        entity=st.sampled_from(["a", "shop/b", "ü"]).map(EntityId),
        timestamp=st.integers(-(2**62), 2**62).map(Millis),
        body=st.binary(max_size=30),
        severity=st.integers(0, 24),
        weight=st.floats(0.5, 1e6),
    ),
    max_size=12,
)


def rows(batch: LogBatch) -> list[tuple[object, ...]]:
    return [
        (
            batch.entities[int(batch.entity[i])],
            int(batch.timestamp[i]),
            batch.data[int(batch.offset[i]) : int(batch.offset[i + 1])],
            int(batch.severity[i]),
            float(batch.weight[i]),
        )
        for i in range(len(batch))
    ]


@given(lines)
def test_lines_come_back_as_they_were(given_lines: list[LogLine]) -> None:
    batch = LogBatch.of(given_lines)
    again = decode_logs(encode_logs(batch))
    assert rows(again) == rows(batch)
    assert rows(again) == [
        (one.entity, one.timestamp, one.body, one.severity, one.weight) for one in given_lines
    ]
    assert encode_logs(again) == encode_logs(batch)


def some() -> LogBatch:
    one = LogLine(entity=EntityId("cart"), timestamp=Millis(7), body=b"up\x00\xff", severity=9)
    return LogBatch.of([one, one])


def test_an_intake_with_lines_and_samples() -> None:
    data = encode(Intake(now=Millis(5), logs=some()))
    again = decode(data)
    assert again.logs is not None
    assert rows(again.logs) == rows(some())
    assert encode(again) == data
    assert json.loads(data[4:].split(b"}")[0] + b"}")["version"] == 3


def test_an_intake_without_lines_is_as_before() -> None:
    without = encode(Intake(now=Millis(5)))
    assert encode(Intake(now=Millis(5), logs=LogBatch.empty())) == without
    assert json.loads(without[4:])["version"] == 1


@pytest.mark.parametrize("cut", [0, 3, 20, 60, -1])
def test_damage_is_noticed(cut: int) -> None:
    with pytest.raises(CorruptDataError, match="log lines of an intake"):
        decode_logs(encode_logs(some())[:cut])


def test_an_entity_outside_the_table_is_noticed() -> None:
    batch = some()
    batch.entity[1] = 5
    with pytest.raises(CorruptDataError, match="do not fit"):
        decode_logs(encode_logs(batch))
