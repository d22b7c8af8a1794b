"""The simulation told in lines for people, in the form of the original sketch."""

from __future__ import annotations

from collections.abc import Callable

from dos.kit.clock import SECOND, Clock, Millis, to_datetime
from dos.model.ids import EntityId
from dos.model.telemetry import SampleFrame
from dos.simulate.engine import Simulation, Truth

_DEPENDENTS_EVERY = 5
"""Ticks between two lines about the services that suffer with the target."""


class Narrator:
    """Tells what is new after each tick of `simulation`."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._column = {
            (spec.entity, spec.metric): place for place, spec in enumerate(simulation.series)
        }
        self._told = len(simulation.truths)
        self._open: set[str] = set()
        self._ticks = 0

    def lines(self, frame: SampleFrame) -> list[str]:
        """What to say about the tick that yielded `frame`."""
        simulation = self._simulation
        said: list[str] = []
        truths = simulation.truths
        for truth, run in self._starting(truths):
            label = truth.fault.label
            said.append(f"🚨 INCIDENT: {label} detected in {truth.target} (Duration: {run:g}s)")
            self._open.add(truth.id)
        for truth in truths:
            if truth.id in self._open:
                if truth.end is None:
                    said += self._metrics(truth, frame)
                else:
                    said.append(f"✅ INCIDENT RESOLVED: {truth.target} {truth.fault.label}")
                    self._open.discard(truth.id)
        self._ticks += 1
        at = f"[{to_datetime(simulation.now):%H:%M:%S}]"
        return [f"{at} {line}" for line in said or ["All services operating normally"]]

    def _starting(self, truths: tuple[Truth, ...]) -> list[tuple[Truth, float]]:
        """Faults not told of yet, with their duration in seconds."""
        durations = {run.id: run.fault.duration for run in self._simulation.running}
        new = [(truth, durations.get(truth.id, 0.0)) for truth in truths[self._told :]]
        self._told = len(truths)
        return new

    def _metrics(self, truth: Truth, frame: SampleFrame) -> list[str]:
        lines = [self._line(truth.target, frame)]
        if self._ticks % _DEPENDENTS_EVERY == 0:
            lines += [self._line(one, frame) for one in truth.affected if one != truth.target]
        return lines

    def _line(self, service: EntityId, frame: SampleFrame) -> str:
        def value(metric: str) -> float | None:
            place = self._column.get((service, metric))
            return None if place is None else float(frame.value[place])

        cpu, memory = value("cpu_usage"), value("memory_usage")
        latency, errors = value("latency_p95"), value("error_rate")
        parts = [
            None if cpu is None else f"CPU={cpu:.0%}",
            None if memory is None else f"Memory={memory:.0%}",
            None if latency is None else f"Latency={latency * 1000:.0f}ms",
            None if errors is None else f"Errors={errors:.0%}",
        ]
        return f"🔄 {service} metrics: {' | '.join(part for part in parts if part)}"


async def tell(
    simulation: Simulation,
    clock: Clock | None,
    write: Callable[[str], object],
    duration: float | None = None,
) -> None:
    """Play `simulation` and write its lines until `duration` simulated seconds are over.

    Args:
        simulation: Starts where the clock stands.
        clock: Paces the ticks; None plays as fast as the machine can.
        write: Takes one line without its line feed.
        duration: None for no end.
    """
    narrator = Narrator(simulation)
    end = None if duration is None else Millis(simulation.now + round(duration * SECOND))
    while end is None or simulation.now < end:
        frame = simulation.tick()
        if clock is not None:
            await clock.sleep(max(0.0, (simulation.now - clock.now()) / SECOND))
        for line in narrator.lines(frame):
            write(line)
