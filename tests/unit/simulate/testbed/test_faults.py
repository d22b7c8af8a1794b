"""Faults as values: their course, and the three forms in which people write them."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from dos.kit.errors import ConfigError
from dos.simulate.testbed.faults import (
    FaultKind,
    InjectedFault,
    Planned,
    parse_planned,
    read_timeline,
)


def fault(kind: FaultKind = FaultKind.SLEEP, **keys: object) -> InjectedFault:
    return InjectedFault.model_validate({"type": kind, "service": "payment", **keys})


def test_strength_goes_up_the_ramp_stays_and_comes_down() -> None:
    one = fault(severity=0.8, duration="30s", ramp="10s", recovery="20s")
    course = {0: 0.0, 5: 0.4, 10: 0.8, 30: 0.8, 40: 0.4, 49.9: 0.004, 50: 0.0, 99: 0.0}
    for elapsed, strength in course.items():
        assert one.strength(elapsed) == pytest.approx(strength), elapsed
    assert one.strength(-1) == 0.0


def test_what_has_no_degrees_ends_with_its_duration() -> None:
    for kind in (FaultKind.KILL, FaultKind.DISK_FULL, FaultKind.MEMORY_GROWTH):
        one = fault(kind, duration=10, recovery=20)
        assert one.ends_after == 10
        assert one.strength(9.9) == one.severity
        assert one.strength(10) == 0.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cpu_burn:payment@60s/30s", (60, FaultKind.CPU_BURN, "payment", 30, 0.7)),
        ("kill:redis@0/1m30s", (0, FaultKind.KILL, "redis", 90, 0.7)),
        ("sleep:cart@1h/5*0.25", (3600, FaultKind.SLEEP, "cart", 5, 0.25)),
    ],
)
def test_the_form_of_the_command_line(text: str, expected: tuple[object, ...]) -> None:
    planned = parse_planned(text)
    one = planned.fault
    assert (planned.at, one.type, one.service, one.duration, one.severity) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("cpu_burn", "is not KIND:SERVICE@START/DURATION. Write for example"),
        ("burn:payment@1/2", "type: Input should be 'cpu_burn'"),
        ("sleep:cart@soon/5s", "'soon' is not a duration"),
        ("sleep:cart@1s/0s", "duration: Input should be greater than 0"),
        ("sleep:cart@1s/2h", "duration: Input should be less than or equal to 3600"),
        ("sleep:cart@1s/5s*3", "severity: Input should be less than or equal to 1"),
    ],
)
def test_what_is_wrong_is_said(text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as failure:
        parse_planned(text)
    assert reason in str(failure.value)


def test_a_timeline_has_the_simulators_keys(tmp_path: Path) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text(
        "- {at: 1m, fault: cpu_burn, target: payment, duration: 30s, severity: 0.9, ramp: 5s}\n"
        "- {at: 2m, fault: kill, target: cart}\n"
    )
    burn, kill = read_timeline(path)
    wanted = fault(FaultKind.CPU_BURN, duration=30, severity=0.9, ramp=5)
    assert burn == Planned(at=60, fault=wanted)
    assert (kill.at, kill.fault.type, kill.fault.duration) == (120, FaultKind.KILL, 60)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("- {at: 1m, fault: kill}", "0.target: Field required"),
        ("- {at: 1m, fault: kill, target: cart, severity: 2}", "severity: Input should be"),
        ("at: 1m", "Input should be a valid list"),
        ("- [", "cannot be read"),
    ],
)
def test_a_wrong_timeline_says_where(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as failure:
        read_timeline(path)
    assert reason in str(failure.value)


def test_a_missing_or_endless_timeline_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_timeline(tmp_path / "none.yaml")
    big = tmp_path / "big.yaml"
    big.write_bytes(b" " * ((1 << 20) + 1))
    with pytest.raises(ConfigError, match="longer than"):
        read_timeline(big)


def test_only_what_is_possible_passes_the_check() -> None:
    fault().check(redis=False)
    fault(FaultKind.DISK_FULL, service="inventory").check(redis=False)
    fault(FaultKind.KILL, service="redis").check(redis=True)
    fault(FaultKind.SLOW_DEPENDENCY, service="redis").check(redis=True)
    with pytest.raises(ConfigError, match=r"keeps nothing on disk\. Use one of: inventory"):
        fault(FaultKind.DISK_FULL).check(redis=True)
    with pytest.raises(ConfigError, match="no service 'nobody'"):
        fault(service="nobody").check(redis=True)
    with pytest.raises(ConfigError, match="runs without a Redis"):
        fault(FaultKind.KILL, service="redis").check(redis=False)
    with pytest.raises(ConfigError, match="only kill and slow_dependency"):
        fault(FaultKind.CPU_BURN, service="redis").check(redis=True)


def test_further_keys_are_refused() -> None:
    with pytest.raises(ValidationError):
        fault(kind_of="trouble")
