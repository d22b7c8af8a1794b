"""All silences: which hold, and how they are changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from uuid import UUID

from dos.kit.clock import HOUR, Millis
from dos.model.matchers import all_match
from dos.model.silence import Silence, SilenceState

KEPT = 120 * HOUR
"""How long one is still shown after it ended."""


class Silences:
    """All silences. Reads no clock.

    Changes are planned first and then put: what is planned is recorded as input of the pipeline, so
    that a replay puts the same.
    """

    def __init__(self) -> None:
        self._by_id: dict[str, Silence] = {}

    def plan(self, wanted: Silence, now: Millis) -> tuple[Silence, ...]:
        """What is to be put for a new one (without id), or to change the one with its id.

        As in Alertmanager, what has begun is not rewritten: a change of its matchers or of the past
        ends it, and a new one takes its place.

        Returns:
            The one that holds from then on comes last.

        Raises:
            ValueError: It would be over already.
            KeyError: There is none with its id.
        """
        if wanted.ends_at <= now:
            msg = "it would be over already"
            raise ValueError(msg)
        ended: tuple[Silence, ...] = ()
        if wanted.id:
            known = self._by_id[wanted.id]
            if _can_become(known, wanted, now):
                begun = known.starts_at if known.state(now) is SilenceState.ACTIVE else None
                return (replace(wanted, starts_at=begun or wanted.starts_at, updated_at=now),)
            if known.state(now) is not SilenceState.EXPIRED:
                ended = (self.plan_end(known.id, now),)
        starts = Millis(max(wanted.starts_at, now))
        parts = (now, len(self._by_id), wanted.created_by, wanted.comment, *wanted.matchers)
        text = "\x1f".join(str(one) for one in parts)
        fresh = str(UUID(bytes=hashlib.blake2b(text.encode(), digest_size=16).digest()))
        return (*ended, replace(wanted, id=fresh, starts_at=starts, updated_at=now))

    def plan_end(self, silence_id: str, now: Millis) -> Silence:
        """What is to be put to end one now.

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
        return replace(known, starts_at=min(starts, Millis(now - 1)), ends_at=now, updated_at=now)

    def put(self, silence: Silence) -> None:
        """Keep one as it is."""
        self._by_id[silence.id] = silence

    def forget(self, now: Millis) -> None:
        """Let go of those that ended long ago."""
        for one in [one for one in self._by_id.values() if one.ends_at < now - KEPT]:
            del self._by_id[one.id]

    def find(self, silence_id: str) -> Silence | None:
        """The one with this id."""
        return self._by_id.get(silence_id)

    def by(self, labels: Mapping[str, str], now: Millis) -> Silence | None:
        """One that keeps an alert with these labels quiet, if any does."""
        return next(self.all_by(labels, now), None)

    def all_by(self, labels: Mapping[str, str], now: Millis) -> Iterator[Silence]:
        """All that keep an alert with these labels quiet."""
        for one in self._by_id.values():
            if one.state(now) is SilenceState.ACTIVE and all_match(one.matchers, labels):
                yield one

    def __iter__(self) -> Iterator[Silence]:
        return iter(self._by_id.values())


def _can_become(known: Silence, wanted: Silence, now: Millis) -> bool:
    """Whether a silence may be changed in place."""
    if known.matchers != wanted.matchers:
        return False
    if known.state(now) is SilenceState.ACTIVE:
        return wanted.starts_at == known.starts_at
    return known.state(now) is SilenceState.PENDING and wanted.starts_at >= now
