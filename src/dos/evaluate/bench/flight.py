"""What a bench flies: worlds, seeds, and two kinds of flight.

Seeds from 0 on are for development: look at them, tune on them. Seeds from 10,000 on are held out:
figures are published on them, and nobody looks at single flights of them to improve anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dos.kit.errors import ConfigError
from dos.simulate.world import World
from dos.simulate.worlds import world as world_of

WORLDS = ("shop", "sketch", "online-boutique", "train-ticket", "generated:30")
"""Flown where nobody says which."""
QUICK_WORLDS = ("shop",)
MOST_SEEDS = 1_000
USUAL_BUDGET = 2.0
"""The page budget of who changes nothing."""
DEFAULT_SERVICES = 50


class Split(StrEnum):
    """Which seeds."""

    DEV = "dev"
    HELD_OUT = "held-out"

    @property
    def first_seed(self) -> int:
        """Seeds are counted up from here."""
        return 0 if self is Split.DEV else 10_000


class FlightKind(StrEnum):
    """What is to be measured."""

    FAULTS = "faults"
    """Hours in which every type of fault occurs, with harmless events between."""
    QUIET = "quiet"
    """A week without faults, with harmless events: every incident is a false one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldName:
    """A world of the simulator as written on the command line: `shop`, `generated:30`, a file."""

    name: str
    services: int = DEFAULT_SERVICES
    """Size of a generated world; others have their own."""

    def build(self, seed: int) -> World:
        """The world; a generated one differs from seed to seed.

        Raises:
            ConfigError: There is no such world.
        """
        return world_of(self.name, services=self.services, seed=seed)


def parse_world(text: str) -> WorldName:
    """Read a name, the path of a YAML file, or `generated:SERVICES`.

    Raises:
        ConfigError: It is none of these, or there is no such world.
    """
    name, colon, size = text.partition(":")
    if name == "generated" and colon:
        if not size.isdecimal() or not 4 <= int(size) <= 10_000:
            msg = f"{text!r} is no world: a generated one has 4 to 10000 services."
            raise ConfigError(msg, remedy="Write for example generated:30.")
        return WorldName(name=name, services=int(size))
    world = WorldName(name=text)
    world.build(0)
    return world


@dataclass(frozen=True, slots=True, kw_only=True)
class Flight:
    """One simulation to be flown: the unit that the bootstrap resamples."""

    kind: FlightKind
    world: str
    """As written: `shop`, `generated:30`."""
    seed: int
    step: float
    """Seconds between two samples of a series."""
    history: float
    """Seconds of healthy past that baselines are learned from."""
    quiet: float
    """Seconds without faults at the end; the whole length of a quiet flight."""
    page_budget: float = USUAL_BUDGET
    """False pages per service-week that the pipeline is told to keep to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """What to measure.

    Raises:
        ConfigError: A world is unknown or a number out of range.
    """

    worlds: tuple[str, ...] = WORLDS
    seeds: int = 2
    """Flights of each kind per world."""
    split: Split = Split.HELD_OUT
    step: float = 5.0
    """Seconds between two samples in flights with faults."""
    history: float = 7_200.0
    """Seconds of healthy past before flights with faults."""
    tail: float = 1_800.0
    """Seconds without faults at their end."""
    quiet_step: float = 60.0
    """The same three of quiet flights, which are long and therefore sampled more coarsely."""
    quiet_history: float = 86_400.0
    quiet_length: float = 7 * 86_400.0
    page_budget: float = USUAL_BUDGET
    """False pages per service-week that the pipeline is told to keep to."""
    jobs: int = 2
    """Processes."""

    def __post_init__(self) -> None:
        if not 1 <= self.seeds <= MOST_SEEDS or self.jobs < 1 or not self.worlds:
            msg = f"{self.seeds} seeds of {len(self.worlds)} worlds on {self.jobs} processes:"
            msg += " that is out of range."
            raise ConfigError(msg, remedy=f"Use 1 to {MOST_SEEDS} seeds, a world and a process.")
        if not 0 < self.page_budget <= 1000:
            msg = f"A page budget of {self.page_budget} is out of range."
            raise ConfigError(msg, remedy="Use up to 1000 false pages per service-week, above 0.")
        for world in self.worlds:
            parse_world(world)

    def flights(self) -> tuple[Flight, ...]:
        """All flights, those with faults first."""
        seeds = range(self.split.first_seed, self.split.first_seed + self.seeds)
        return tuple(
            Flight(
                kind=kind,
                world=world,
                seed=seed,
                step=self.step if kind is FlightKind.FAULTS else self.quiet_step,
                history=self.history if kind is FlightKind.FAULTS else self.quiet_history,
                quiet=self.tail if kind is FlightKind.FAULTS else self.quiet_length,
                page_budget=self.page_budget,
            )
            for kind in FlightKind
            for seed in seeds
            for world in self.worlds
        )


def quick(split: Split = Split.HELD_OUT, jobs: int = 2) -> BenchOptions:
    """The smallest bench in which every part works: one world, one seed, a quarter of a day."""
    return BenchOptions(
        worlds=QUICK_WORLDS,
        seeds=1,
        split=split,
        tail=600.0,
        quiet_history=21_600.0,
        quiet_length=21_600.0,
        jobs=jobs,
    )
