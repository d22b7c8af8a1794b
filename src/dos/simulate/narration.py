"""The simulation told in lines for people, in the form of the original sketch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from dos.kit.clock import SECOND, Clock, Millis, to_datetime
from dos.model.ids import EntityId
from dos.model.telemetry import SampleFrame
from dos.simulate.engine import Simulation, Truth
from dos.simulate.faults import FaultType
from dos.simulate.happenings import Happening, HappeningKind, Observer
from dos.simulate.kinds.monitoring import garbled
from dos.simulate.lifecycle import Lifecycle
from dos.simulate.postmortem import Postmortem, block
from dos.simulate.vitals import Vitals

_DEPENDENTS_EVERY = 5
"""Ticks between two lines about the services that suffer with the target."""
_HARMLESS_EVERY = 30
"""Ticks between two lines about what is harmless."""
_MOST_DEPENDENTS = 8
"""Services told of at once."""
_SIGNS = {
    HappeningKind.ALARM: "⚠️ ",
    HappeningKind.CHANGE: "📝 CHANGE: ",
    HappeningKind.ACTION: "🔧 ACTION: ",
    HappeningKind.OUTCOME: "🔧 OUTCOME: ",
    HappeningKind.RESTART: "💥 ",
    HappeningKind.SCALED: "📈 ",
}
"""What is told of whatever runs; what belongs to one fault is told by its kind."""
_TELLING: dict[FaultType, tuple[str, ...]] = {
    FaultType.MEMORY_LEAK: ("restarts",),
    FaultType.NETWORK_LATENCY: ("latency_p50",),
    FaultType.PACKET_LOSS: ("retransmits", "latency_p99"),
    FaultType.CASCADING_FAILURE: ("queue_depth",),
    FaultType.CONFIG_CHANGE: ("connections", "queue_depth"),
    FaultType.DNS_FAILURE: ("request_rate",),
    FaultType.CERTIFICATE_EXPIRY: ("request_rate",),
    FaultType.DEPENDENCY_OUTAGE: ("request_rate",),
    FaultType.DISK_FULL: ("disk_usage",),
    FaultType.LOCK_CONTENTION: ("connections", "queue_depth"),
    FaultType.CACHE_STAMPEDE: ("hit_ratio",),
    FaultType.RETRY_STORM: ("request_rate",),
    FaultType.TRAFFIC_SURGE: ("request_rate",),
    FaultType.PLANNED_SURGE: ("request_rate",),
}
"""What tells most of a kind of fault, beside the usual."""


_INFORMATION = "\N{INFORMATION SOURCE}\N{VARIATION SELECTOR-16}"
_MACHINES_SHOWN = 3
"""Machines of a zone told of at once."""


class Narrator:
    """Tells what is new after each tick of `simulation`.

    `ended` holds the records of the incidents that were over with the last tick.
    """

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._vitals = Vitals(simulation.series)
        self._observer = Observer(simulation)
        self._lifecycle = Lifecycle(simulation)
        self._zones = {
            EntityId(zone): [node.id for node in simulation.world.nodes if node.zone == zone]
            for zone in simulation.world.zones
        }
        self._open: set[str] = set()
        self._ticks = 0
        self.ended: list[Postmortem] = []

    def lines(self, frame: SampleFrame) -> list[str]:
        """What to say about the tick that yielded `frame`."""
        happened = self._observer.look(frame)
        self.ended = self._lifecycle.follow(frame, happened)
        self._open |= {
            one.fault for one in happened if one.fault and one.kind is HappeningKind.BEGAN
        }
        truths = {one.id: one for one in self._simulation.truths if one.id in self._open}
        said = [line for one in happened if (line := self._new(one, truths))]
        for truth in truths.values():
            if truth.end is None:
                said += self._metrics(truth, frame)
        for record in self.ended:
            said += self._ending(record)
            self._open.discard(record.id)
        if not said:
            said.append("All services operating normally")
        self._ticks += 1
        at = f"[{to_datetime(self._simulation.now):%H:%M:%S}]"
        return [line if line.startswith(" ") else f"{at} {line}" for line in said]

    def unfinished(self) -> list[Postmortem]:
        """Records of the incidents that still run; nothing is told of them afterwards."""
        return self._lifecycle.unfinished()

    @staticmethod
    def _new(one: Happening, truths: dict[str, Truth]) -> str | None:
        """A line about something that is no course of a fault, or the beginning of one."""
        if one.kind is HappeningKind.BEGAN and one.fault is not None:
            harmless = truths[one.fault].harmless
            return f"{f'{_INFORMATION} HARMLESS' if harmless else '🚨 INCIDENT'}: {one.text}"
        return f"{_SIGNS[one.kind]}{one.text}" if one.kind in _SIGNS else None

    @staticmethod
    def _ending(record: Postmortem) -> list[str]:
        over = f"{_INFORMATION} OVER" if record.harmless else "✅ INCIDENT RESOLVED"
        return [f"{over}: {record.target} {record.fault.label}", *block(record)]

    def _metrics(self, truth: Truth, frame: SampleFrame) -> list[str]:
        """The target now and then its dependents; of what is harmless, all now and then."""
        if truth.harmless and self._ticks % _HARMLESS_EVERY:
            return []
        lines = list(self._target(truth, frame))
        if self._ticks % _DEPENDENTS_EVERY == 0:
            others = [one for one in truth.affected if one != truth.target]
            lines += [self._line(one, frame) for one in others[:_MOST_DEPENDENTS]]
            if len(others) > _MOST_DEPENDENTS:
                lines.append(f"🔄 and {len(others) - _MOST_DEPENDENTS} more affected")
        return lines

    def _target(self, truth: Truth, frame: SampleFrame) -> Iterator[str]:
        machines = self._zones.get(truth.target)
        if machines is None:
            also = _TELLING.get(truth.fault, ())
            if truth.fault is FaultType.METRIC_CORRUPTION:
                also = (garbled(truth.id)[0],)
            yield self._line(truth.target, frame, also)
            return
        up = sum((self._vitals.value(frame, one, "ready") or 0.0) >= 0.5 for one in machines)
        named = ", ".join(machines[:_MACHINES_SHOWN])
        more = ", …" if len(machines) > _MACHINES_SHOWN else ""
        yield f"🔄 {truth.target}: {up} of {len(machines)} machines answer ({named}{more})"

    def _line(self, entity: EntityId, frame: SampleFrame, also: Sequence[str] = ()) -> str:
        vitals = self._vitals.line(frame, entity, also)
        return f"🔄 {entity} metrics: {vitals or 'none'}"


async def tell(
    simulation: Simulation,
    clock: Clock | None,
    write: Callable[[str], object],
    duration: float | None = None,
    *,
    keep: Callable[[Postmortem], object] | None = None,
) -> None:
    """Play `simulation` and write its lines until `duration` simulated seconds are over.

    Args:
        simulation: Starts where the clock stands.
        clock: Paces the ticks; None plays as fast as the machine can.
        write: Takes one line without its line feed.
        duration: None for no end.
        keep: Takes the record of each incident that ends, and at the end, also when that comes
            by cancellation, of those that still run.
    """
    narrator = Narrator(simulation)
    end = None if duration is None else Millis(simulation.now + round(duration * SECOND))
    try:
        while end is None or simulation.now < end:
            frame = simulation.tick()
            if clock is not None:
                await clock.sleep(max(0.0, (simulation.now - clock.now()) / SECOND))
            for line in narrator.lines(frame):
                write(line)
            if keep is not None:
                for record in narrator.ended:
                    keep(record)
    finally:
        if keep is not None:
            for record in narrator.unfinished():
                keep(record)
