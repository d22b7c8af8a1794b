from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from dos.kit.duration import Duration, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("15s", 15),
        ("1h30m", 5400),
        ("500ms", 0.5),
        ("2d", 172_800),
        ("1w", 604_800),
        ("1y", 31_536_000),
        ("1.5m", 90),
        (" 20 ", 20),
        (7, 7),
        (0.25, 0.25),
        ("0", 0),
    ],
)
def test_durations_as_people_write_them(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "5 m", "-3s", -1, "inf", "nan", True, None, "3x", []])
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@given(millis=st.integers(0, 10**12))
def test_what_is_written_is_read_back(millis: int) -> None:
    assert parse_duration(format_duration(millis / 1000)) == pytest.approx(millis / 1000)


class Config(BaseModel):
    wait: Duration = 3.0


def test_as_a_field_of_a_configuration() -> None:
    assert Config.model_validate({"wait": "1m30s"}).wait == 90
    assert Config(wait=90).model_dump_json() == '{"wait":"1m30s"}'
    assert format_duration(0) == "0s"
    with pytest.raises(ValidationError, match="write for example 15s, 5m or 1h30m"):
        Config.model_validate({"wait": "a while"})
    assert Config.model_json_schema()["properties"]["wait"]["type"] == ["string", "number"]
