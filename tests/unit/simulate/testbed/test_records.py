"""What the supervisor remembers of faults, on virtual time."""

from __future__ import annotations

from dos.kit.clock import SECOND, ManualClock, Millis
from dos.simulate.testbed.faults import FaultKind, InjectedFault
from dos.simulate.testbed.records import Records

NOON = Millis(1_760_000_400_000)


def fault(kind: FaultKind, service: str = "cart", **keys: object) -> InjectedFault:
    return InjectedFault.model_validate({"type": kind, "service": service, **keys})


def test_a_fault_ends_when_its_time_is_over() -> None:
    clock = ManualClock(NOON)
    records = Records(clock)
    record = records.add(fault(FaultKind.KILL, duration=30))
    assert records.killed("cart")
    assert not records.killed("payment")
    clock.advance(29)
    records.expire()
    assert records.running == (record,)
    clock.advance(5)  # nobody looked in time
    assert not records.killed("cart")
    records.expire()
    assert records.running == ()
    (over,) = records.all
    assert over.end == NOON + 30 * SECOND


def test_clearing_ends_all_now_and_changes_nothing_that_is_over() -> None:
    clock = ManualClock(NOON)
    records = Records(clock)
    records.add(fault(FaultKind.KILL, duration=5))
    clock.advance(10)
    records.expire()
    records.add(fault(FaultKind.SLEEP, duration=60))
    clock.advance(1)
    records.clear()
    assert [one.end for one in records.all] == [NOON + 5 * SECOND, NOON + 11 * SECOND]
    assert records.running == ()


def test_the_worst_of_several_counts() -> None:
    clock = ManualClock(NOON)
    records = Records(clock)
    records.add(fault(FaultKind.SLOW_DEPENDENCY, severity=0.3))
    records.add(fault(FaultKind.SLOW_DEPENDENCY, severity=0.6, ramp=10, duration=20, recovery=10))
    clock.advance(2)
    assert records.slowness("cart") == 0.3
    clock.advance(8)
    assert records.slowness("cart") == 0.6
    clock.advance(15)
    assert records.slowness("cart") == 0.3


def test_a_restarted_service_is_told_what_is_left() -> None:
    clock = ManualClock(NOON)
    records = Records(clock)
    record = records.add(fault(FaultKind.CPU_BURN, duration=30, ramp=10, severity=0.5))
    clock.advance(4)
    left = records.left(record)
    assert left is not None
    assert (left.duration, left.ramp, left.severity) == (26, 6, 0.5)
    clock.advance(26)
    assert records.left(record) is None


def test_the_truth_has_the_form_of_the_exporter() -> None:
    records = Records(ManualClock(NOON))
    record = records.add(fault(FaultKind.ERRORS, "payment"))
    again = records.add(fault(FaultKind.ERRORS, "payment"))
    assert record.shown() == {
        "id": record.id,
        "type": "errors",
        "service": "payment",
        "severity": 0.7,
        "start": "2025-10-09T09:00:00.000Z",
        "end": None,
        "affected": ["payment", "checkout", "frontend", "gateway"],
    }
    assert record.id != again.id
