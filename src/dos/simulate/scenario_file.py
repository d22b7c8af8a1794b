"""Scenarios in YAML files: a timeline with a title, and the world it is made for.

A file is either the timeline alone, a list, or a mapping with `timeline` and what people want to
know of it. Those in `dos/simulate/scenarios` come with DOS and are known by their names.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dos.kit import yaml_source
from dos.kit.clock import Millis
from dos.kit.duration import Duration
from dos.kit.errors import ConfigError
from dos.kit.yaml_source import Document, DocumentError
from dos.simulate.scenario import Scenario, Scheduled, ScheduledFault
from dos.simulate.world import World

BUILT_IN = Path(__file__).parent / "scenarios"
"""Where the scenarios are that come with DOS."""
_EXAMPLE = "- {at: 2m, fault: cpu_spike, target: payment-service}"


class ScenarioFile(BaseModel):
    """What may be written in the file of a scenario."""

    model_config = ConfigDict(extra="forbid")

    title: str = Field(default="", max_length=120)
    """What happens, in a few words."""
    description: str = Field(default="", max_length=4000)
    """What there is to see and to learn."""
    world: str = "shop"
    """The world it is made for; played there unless another one is asked for."""
    duration: Duration | None = Field(default=None, gt=0)
    """How long to play it; None: until the last fault is over, and a minute."""
    timeline: list[Scheduled] = Field(min_length=1, max_length=10_000)
    """What breaks and what is done about it, in any order."""

    @property
    def length(self) -> float:
        """Seconds to play, so that all of it is seen."""
        return self.duration if self.duration is not None else 60.0 + max(self._ends())

    def _ends(self) -> Iterator[float]:
        for line in self.timeline:
            if isinstance(line, ScheduledFault):
                yield line.at + line.duration + line.build().recovery
            else:
                yield line.at


class Reading:
    """A scenario as it was read, with the places in its file.

    Args:
        name: Of the file, for messages.
        content: What it says.
        document: The places.
    """

    def __init__(self, name: str, content: ScenarioFile, document: Document) -> None:
        self.name = name
        self.content = content
        self._document = document

    @property
    def timeline(self) -> list[Scheduled]:
        """What breaks and what is done about it."""
        return self.content.timeline

    def place(self, number: int) -> str:
        """Where the line with that number, from 0, is written."""
        return f"Scenario {self.name}, line {self._document.keys['timeline', number].line}"

    def misfits(self, world: World) -> list[ConfigError]:
        """Every line that cannot be played in `world`, with its place."""
        found = []
        for number, line in enumerate(self.timeline):
            try:
                Scenario([line], world, Millis(0))
            except ConfigError as error:
                msg = f"{self.place(number)}: {error.message}"
                found.append(ConfigError(msg, remedy=error.remedy))
        return found

    def check(self, world: World) -> None:
        """See that every line can be played in `world`.

        Raises:
            ConfigError: The first one that cannot, with its place.
        """
        for misfit in self.misfits(world):
            raise misfit


def built_in() -> list[str]:
    """The names of the scenarios that come with DOS, sorted."""
    return sorted(path.stem for path in BUILT_IN.glob("*.yaml"))


def find(wanted: str | Path) -> Path:
    """The file of a scenario, given by its path or by the name of one that comes with DOS.

    Raises:
        ConfigError: There is neither such a file nor such a name.
    """
    path = Path(wanted)
    if path.suffix in {".yaml", ".yml"} or path.exists():
        return path
    if str(wanted) in built_in():
        return BUILT_IN / f"{wanted}.yaml"
    msg = f"There is no scenario {str(wanted)!r}."
    raise ConfigError(msg, remedy=f"Give a YAML file, or one of: {', '.join(built_in())}.")


def read(wanted: str | Path) -> Reading:
    """The scenario in a file, or one that comes with DOS by its name.

    Raises:
        ConfigError: It cannot be read or something in it is wrong; the message says where.
    """
    path = find(wanted)
    try:
        document = yaml_source.read(path, list_as="timeline")
    except DocumentError as error:
        msg = f"Scenario {path} cannot be read: {error.problems[0]}."
        raise ConfigError(msg) from error
    if not isinstance(document.value.get("timeline"), list):
        msg = f"Scenario {path} is not a list of faults."
        remedy = f"Write lines such as: {_EXAMPLE}, by themselves or below `timeline:`."
        raise ConfigError(msg, remedy=remedy)
    try:
        content = ScenarioFile.model_validate(document.value)
    except ValidationError as error:
        raise ConfigError(_first_mistake(path, document, error)) from error
    return Reading(str(path), content, document)


def read_scenario(wanted: str | Path) -> list[Scheduled]:
    """The timeline of a scenario: its faults and actions.

    Raises:
        ConfigError: It cannot be read or something in it is wrong; the message says where.
    """
    return read(wanted).timeline


def _first_mistake(path: Path, document: Document, error: ValidationError) -> str:
    """The first thing that pydantic found, with its line."""
    first = error.errors()[0]
    # Without the tag that tells a fault from an action.
    location = tuple(part for part in first["loc"] if not str(part).startswith("scheduled_"))
    lines = [
        places[location[:depth]].line
        for depth in range(len(location), 0, -1)
        for places in (document.values, document.keys)
        if location[:depth] in places
    ]
    where = ".".join(str(part) for part in location[2:] or location)
    message = first["msg"].removeprefix("Value error, ")
    return f"Scenario {path}, line {lines[0] if lines else 1}, {where}: {message}."
