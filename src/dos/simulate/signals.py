"""Everything that can be seen of a simulation from outside, tick by tick.

Followers of one simulation: its pods, its traces, its logs, its instruments. None of them touches
it, and each has dice of its own, so that what is switched on changes nothing in the others.
"""

from __future__ import annotations

from dataclasses import dataclass

from dos.model.telemetry import SampleFrame
from dos.simulate.engine import Simulation
from dos.simulate.fleet import Fleet
from dos.simulate.instruments import Instruments
from dos.simulate.logs import LogWriter, Record
from dos.simulate.traces import Span, Tracer


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """How much is kept of what there would be."""

    traces: int = 10
    """Traces sampled in a tick; 0 for none."""
    logs: int = 200
    """Log lines kept of a tick, about; 0 for none."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """What was seen of one tick."""

    frame: SampleFrame
    spans: list[Span]
    """Those that ended in it."""
    records: list[Record]


class Signals:
    """Plays a simulation and collects what it shows.

    Args:
        simulation: Ticks when `tick` is called.
        seed: Of traces, logs and instruments.
        amount: How much is kept.
    """

    def __init__(
        self, simulation: Simulation, *, seed: int = 0, amount: Amount | None = None
    ) -> None:
        amount = amount or Amount()
        self.simulation = simulation
        self.fleet = Fleet(simulation, seed)
        self.instruments = Instruments(self.fleet, seed)
        self._tracer = Tracer(simulation, self.fleet, seed=seed, per_tick=amount.traces)
        self._writer = LogWriter(simulation, self.fleet, seed=seed, most=amount.logs)
        self._writes = amount.logs > 0

    def tick(self) -> Seen:
        """Play one step."""
        frame = self.simulation.tick()
        self.fleet.follow()
        spans = self._tracer.sample()
        records = self._writer.write(spans) if self._writes else []
        return Seen(frame=frame, spans=spans, records=records)

    def count(self) -> None:
        """Let the instruments count the last tick."""
        if self.simulation.last is not None:
            self.instruments.add(self.simulation.last)
