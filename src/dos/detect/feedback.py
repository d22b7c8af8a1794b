"""What feedback does: thresholds of single series, and entities on which no incident is opened.

A label changes how far from normal a series must be, as a factor on its own threshold:

* *false* raises it just above what the false page showed, `raise_at_most` times at most, so that
  no label makes DOS deaf to a series;
* *confirmed* forbids raising it above what the true page showed;
* *missed* lowers it for the signals users feel and for resources of the entities named, by a
  fifth for each label and to `lower_at_most` of it at least.

Labels count for `keep`, in the order in which they were given; an undone one never counted. The
same labels are what a page budget is measured against: see `FeedbackBook.labels`.

Plain synchronous state, written by `dump`; no clock, no I/O.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from dos.detect.calendar import Calendars, matches
from dos.kit.clock import SECOND, Millis
from dos.kit.duration import Duration
from dos.model.entity import Entity
from dos.model.feedback import Feedback, FeedbackKind, Signal
from dos.model.ids import EntityId, FeedbackId, IncidentId
from dos.model.telemetry import Role, SeriesSpec

_ABOVE = 1.1
"""A false page must be exceeded by this factor to be one again."""
_BELOW = 0.9
"""A true page must still be one with this share of its strength."""
_MISSED = 0.8

Key = tuple[EntityId, str, tuple[tuple[str, str], ...]]


class FeedbackConfig(BaseModel):
    """What feedback may do."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keep: Duration = Field(default=90 * 86_400.0, gt=0)
    """How long a label counts."""
    raise_at_most: float = Field(default=4.0, ge=1, le=100)
    """Labels never raise the threshold of a series above this many times its own."""
    lower_at_most: float = Field(default=0.5, gt=0, le=1)
    """Labels never lower it below this share."""


_STATE: TypeAdapter[list[Feedback]] = TypeAdapter(list[Feedback])


class FeedbackBook:
    """All feedback that counts, and what follows from it."""

    def __init__(self, config: FeedbackConfig, calendars: Calendars) -> None:
        self._config = config
        self._calendars = calendars
        self._entries: dict[FeedbackId, Feedback] = {}
        self._by_series: dict[Key, list[tuple[Feedback, Signal]]] = {}
        self._missed: list[Feedback] = []

    @property
    def labels(self) -> Sequence[Feedback]:
        """The labels that count, in the order in which they were given."""
        return [one for one in self._ordered() if one.kind.is_label]

    def take(self, said: Feedback) -> bool:
        """Take in feedback, or that it was undone.

        Returns:
            Whether it changes anything: the same entry twice does not.
        """
        known = self._entries.get(said.id)
        if known == said or (known is None and not said.holds):
            return False
        if said.holds:
            self._entries[said.id] = said
        else:
            del self._entries[said.id]
        self._index()
        return True

    def expire(self, now: Millis) -> bool:
        """Forget labels that no longer count and work that is over; whether there were any."""
        kept = now - round(self._config.keep * SECOND)
        old = [
            key
            for key, one in self._entries.items()
            if (one.given_at < kept if one.kind.is_label else one.end <= now)
        ]
        for key in old:
            del self._entries[key]
        if old:
            self._index()
        return bool(old)

    def scale(self, spec: SeriesSpec) -> float:
        """The factor on the threshold of a series; 1 where nobody said anything."""
        said = self._by_series.get((spec.entity, spec.metric, spec.labels), [])
        felt = spec.role.is_golden or spec.role is Role.SATURATION
        missed = [one for one in self._missed if felt and matches(spec.entity, one.entities)]
        if not said and not missed:
            return 1.0
        return self._scale(said, missed)

    def verdict(self, incident_id: IncidentId) -> bool | None:
        """Whether an incident was for nothing, by the newest label on it; None: nobody said."""
        judges = {FeedbackKind.FALSE: True, FeedbackKind.CONFIRMED: False}
        said = [
            judges[one.kind]
            for one in self._ordered()
            if one.incident_id == incident_id and one.kind in judges
        ]
        return said[-1] if said else None

    def is_maintenance(self, now: Millis) -> bool:
        """Whether planned work is going on anywhere."""
        works = any(
            one.kind is FeedbackKind.MAINTENANCE and one.start <= now < one.end
            for one in self._entries.values()
        )
        return works or self._calendars.is_maintenance(now)

    def muted(self, entities: Iterable[Entity], now: Millis) -> Collection[EntityId]:
        """Those of `entities` on which no incident is to be opened now."""
        works = [
            one
            for one in self._entries.values()
            if one.kind is FeedbackKind.MAINTENANCE and one.start <= now < one.end
        ]
        return {
            entity.id
            for entity in entities
            if any(matches(entity.id, one.entities) for one in works)
            or self._calendars.in_maintenance(entity, now)
        }

    def dump(self) -> bytes:
        """The state as canonical JSON."""
        return _STATE.dump_json(self._ordered())

    def load(self, data: bytes) -> None:
        """Become what `dump` wrote.

        Raises:
            ValueError: It was not.
        """
        self._entries = {one.id: one for one in _STATE.validate_json(data)}
        self._index()

    def _scale(self, said: Sequence[tuple[Feedback, Signal]], missed: Sequence[Feedback]) -> float:
        """Labels one after the other.

        A strength was measured against the threshold of its time, which earlier labels had
        changed: it is taken times the factor that held when the page began.
        """
        config = self._config
        raised, lowered, ceiling = 1.0, 1.0, config.raise_at_most
        factor, then = 1.0, list[tuple[Millis, float]]()
        steps: list[tuple[Feedback, Signal | None]] = [*said, *((one, None) for one in missed)]
        for one, signal in sorted(steps, key=lambda step: (step[0].given_at, step[0].id)):
            if signal is None:
                lowered *= _MISSED
            else:
                held = next((f for at, f in reversed(then) if at <= one.start), 1.0)
                strength = signal.strength * held
                if one.kind is FeedbackKind.FALSE:
                    raised = max(raised, _ABOVE * strength)
                elif one.kind is FeedbackKind.CONFIRMED:
                    ceiling = min(ceiling, max(1.0, _BELOW * strength))
            factor = min(max(raised * lowered, config.lower_at_most), ceiling)
            then.append((one.given_at, factor))
        return factor

    def _ordered(self) -> list[Feedback]:
        return sorted(self._entries.values(), key=lambda one: (one.given_at, one.id))

    def _index(self) -> None:
        by_series: defaultdict[Key, list[tuple[Feedback, Signal]]] = defaultdict(list)
        for one in self._ordered():
            for signal in one.signals if one.kind.is_label else ():
                by_series[signal.entity, signal.metric, signal.labels].append((one, signal))
        self._by_series = dict(by_series)
        self._missed = [one for one in self._ordered() if one.kind is FeedbackKind.MISSED]
