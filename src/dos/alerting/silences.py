"""Silences: for a while, nobody is told of alerts whose labels match."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from dos.alerting.matchers import Matchers, all_match
from dos.kit.clock import Millis
from dos.model.ids import derive_id


class SilenceState(StrEnum):
    """As in Alertmanager."""

    PENDING = "pending"
    ACTIVE = "active"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Who asked for quiet about what, for how long and why.

    Raises:
        ValueError: It matches every alert, or ends before it begins.
    """

    id: str = ""
    """Empty until it is kept."""
    matchers: Matchers
    starts_at: Millis
    ends_at: Millis
    created_by: str
    comment: str
    updated_at: Millis

    def __post_init__(self) -> None:
        if all_match(self.matchers, {}):
            msg = "at least one matcher has to need a label that is not empty"
            raise ValueError(msg)
        if self.ends_at <= self.starts_at:
            msg = "it has to end after it begins"
            raise ValueError(msg)

    def state(self, now: Millis) -> SilenceState:
        """Whether it holds."""
        if now < self.starts_at:
            return SilenceState.PENDING
        return SilenceState.ACTIVE if now < self.ends_at else SilenceState.EXPIRED


class Silences:
    """All silences. Reads no clock."""

    def __init__(self) -> None:
        self._by_id: dict[str, Silence] = {}
        self._serial = itertools.count(1)

    def keep(self, silence: Silence, now: Millis) -> Silence:
        """Keep a new one, or change the one with its id; returns it as it is kept.

        As in Alertmanager, what has begun is not rewritten: a change of its matchers or of the past
        ends it, and a new one takes its place.

        Raises:
            ValueError: It would be over already.
            KeyError: There is none with its id.
        """
        if silence.ends_at <= now:
            msg = "it would be over already"
            raise ValueError(msg)
        if silence.id:
            known = self._by_id[silence.id]
            if _can_become(known, silence, now):
                begun = known.starts_at if known.state(now) is SilenceState.ACTIVE else None
                return self._put(replace(silence, starts_at=begun or silence.starts_at), now)
            if known.state(now) is not SilenceState.EXPIRED:
                self.expire(known.id, now)
        starts = Millis(max(silence.starts_at, now))
        fresh = derive_id("sil", now, next(self._serial), silence.created_by, silence.comment)
        return self._put(replace(silence, id=fresh, starts_at=starts), now)

    def expire(self, silence_id: str, now: Millis) -> Silence:
        """End one now.

        Raises:
            KeyError: There is none with this id.
            ValueError: It is over already.
        """
        known = self._by_id[silence_id]
        state = known.state(now)
        if state is SilenceState.EXPIRED:
            msg = f"silence {silence_id} is over already"
            raise ValueError(msg)
        starts = known.starts_at if state is SilenceState.ACTIVE else Millis(now - 1)
        return self._put(replace(known, starts_at=min(starts, Millis(now - 1)), ends_at=now), now)

    def by(self, labels: Mapping[str, str], now: Millis) -> Silence | None:
        """The one that keeps an alert with these labels quiet, if any does."""
        return next(
            (
                one
                for one in self._by_id.values()
                if one.state(now) is SilenceState.ACTIVE and all_match(one.matchers, labels)
            ),
            None,
        )

    def __iter__(self) -> Iterator[Silence]:
        return iter(self._by_id.values())

    def _put(self, silence: Silence, now: Millis) -> Silence:
        kept = replace(silence, updated_at=now)
        self._by_id[kept.id] = kept
        return kept


def _can_become(known: Silence, wanted: Silence, now: Millis) -> bool:
    """Whether a silence may be changed in place."""
    if known.matchers != wanted.matchers:
        return False
    if known.state(now) is SilenceState.ACTIVE:
        return wanted.starts_at == known.starts_at
    return known.state(now) is SilenceState.PENDING and wanted.starts_at >= now
