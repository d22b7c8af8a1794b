"""The lines of a simulation as an ingest source delivers them, tick by tick."""

from __future__ import annotations

from dos.kit.clock import SECOND
from dos.model.ids import EntityId
from dos.model.logs import LogBatch
from dos.simulate.engine import Simulation
from dos.simulate.fleet import Fleet
from dos.simulate.logs import LogWriter, Record

_MICROS = 1_000_000 // SECOND


class LogStream:
    """Follows a simulation from the tick on at which it was made.

    Args:
        simulation: Ticks when its owner says so; after each tick one of the methods is called.
        seed: Of the dice of lines.
        most: Lines of a tick, about.
    """

    def __init__(self, simulation: Simulation, *, seed: int, most: int) -> None:
        self._fleet = Fleet(simulation, seed)
        self._writer = LogWriter(simulation, self._fleet, seed=seed, most=most)
        self._services = [service.entity().id for service in simulation.physics.services]
        self._nodes = [node.id for node in simulation.physics.nodes]

    def pass_over(self) -> None:
        """Leave out the lines of the last tick; costs a tenth of `lines`."""
        self._fleet.follow()
        self._writer.pass_over()

    def lines(self) -> LogBatch:
        """Those of the last tick."""
        self._fleet.follow()
        records = self._writer.write()
        table: dict[EntityId, int] = {}
        rows = [table.setdefault(self._entity(one), len(table)) for one in records]
        return LogBatch.of_columns(
            tuple(table),
            rows,
            [one.time // _MICROS for one in records],
            [one.body.encode() for one in records],
            severity=[int(one.severity) for one in records],
            weight=[one.weight for one in records],
        )

    def _entity(self, record: Record) -> EntityId:
        """The service, or the machine where that itself wrote."""
        return (
            self._nodes[record.node] if record.pod is None else self._services[record.pod.service]
        )
