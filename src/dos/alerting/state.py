"""What the alert book remembers, and how it is written: JSON, exact, equal for equal states."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import TypeAdapter, ValidationError

from dos.alerting.decision import Decision
from dos.kit.clock import Millis
from dos.kit.errors import CorruptDataError
from dos.model.alert import Alert
from dos.model.ids import AlertId
from dos.model.impact import Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a receiver knows of a firing alert."""

    at: Millis
    """When it was last told something."""
    severity: Severity
    """The worst it was told."""
    cause: str | None
    """The root cause it was told last."""


@dataclass(slots=True, kw_only=True)
class Firing:
    """An alert that fires. Mutable: the book's own, handed to nobody."""

    alert: Alert
    cause: str | None
    """The root cause named at present."""
    wait_until: Millis
    """Nobody is told before this time."""
    due: Millis | None = None
    """When a notification that was put off is to be looked at again."""
    generation: int = 0
    """How many times somebody was told; part of the notifications' ids."""
    told: dict[str, Told] = field(default_factory=dict)
    """By receiver: all who were told, and so must be told that it is over."""
    decisions: list[Decision] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class BookState:
    """All of the alert book."""

    serial: int = 0
    """Alerts fired so far; part of their ids."""
    firing: dict[str, Firing] = field(default_factory=dict)
    """By the id of what it is about: an incident or a forecast."""
    closed: dict[AlertId, list[Decision]] = field(default_factory=dict)
    """Decisions about alerts that are over, oldest first; the newest few hundred."""


_STATE: TypeAdapter[BookState] = TypeAdapter(BookState)


def encode(state: BookState) -> bytes:
    """`state` as JSON."""
    return _STATE.dump_json(state)


def decode(data: bytes) -> BookState:
    """What `encode` wrote.

    Raises:
        CorruptDataError: `data` is something else.
    """
    try:
        return _STATE.validate_json(data)
    except ValidationError as error:
        msg = f"The checkpoint of the alert book cannot be read: {error.errors()[0]['msg']}."
        raise CorruptDataError(
            msg, remedy="Delete the checkpoint; firing alerts are taken over from the store."
        ) from error
