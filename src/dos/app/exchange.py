"""What people say to one of several replicas, the others have to know: silences, acknowledgements.

    said here ─▶ waiting ─▶ shared ledger ─▶ the others' pipelines (logged, replayed as all input)

While the ledger cannot be reached what is said here waits, and is passed on afterwards; the newest
that anybody said of a silence counts everywhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from pydantic import TypeAdapter, ValidationError

from dos.alerting.replicas import Replicas, names_of
from dos.app.runner import Runner
from dos.ingest.base import Delivery
from dos.kit import log
from dos.kit.clock import DAY, Clock, Millis
from dos.model.alert import Acknowledgement, Alert
from dos.model.silence import Silence

REPLICAS = "replicas"
"""Whence input comes that was said to another replica."""
_EVERY = 1.0
"""Seconds between looks."""
_BACK = 7 * DAY
"""A replica that starts hears again what was said so long ago: of silences that still hold."""
_WAITING = 1000
_logger = log.get("app")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """One thing that was said."""

    silence: Silence | None = None
    acknowledgement: Acknowledgement | None = None
    names: tuple[str, ...] = ()
    """Of what was acknowledged: alerts have other ids elsewhere."""


_SAID: TypeAdapter[_Said] = TypeAdapter(_Said)


class Exchange:
    """Between this replica and the others; see the module's text.

    Args:
        replicas: The way to the others.
        runner: Holds what fires here, and the silences.
        submit: The way into this replica's intake log.
        clock: The replica's.
    """

    def __init__(
        self,
        replicas: Replicas,
        runner: Runner,
        submit: Callable[[str, Delivery], Awaitable[bool]],
        clock: Clock,
    ) -> None:
        self.replicas = replicas
        self._runner = runner
        self._submit = submit
        self._clock = clock
        self._waiting: deque[str] = deque(maxlen=_WAITING)
        self._read = 0

    async def begin(self) -> None:
        """Reach for the others once, so that what waits in the outbox is not told without asking.

        When they are out of reach DOS starts all the same.
        """
        await self.replicas.reach(self._nothing)

    async def run(self) -> None:
        """Pass on and listen until cancelled."""
        while True:
            await self._clock.sleep(_EVERY)
            await self._pass_on()
            await self._listen()

    def heard(self, delivery: Delivery) -> None:
        """Something came in here; what others have to know waits to be passed on."""
        said = [_Said(silence=one) for one in delivery.silences]
        if delivery.acknowledgements:
            fires = {one.id: one for one in self._firing()}
            for one in delivery.acknowledgements:
                if one.alert in fires:
                    names = tuple(sorted(names_of(fires[one.alert])))
                    said.append(_Said(acknowledgement=one, names=names))
        if len(self._waiting) + len(said) > _WAITING:
            _logger.error("not_passed_on", reason="too much waits for the other replicas")
        self._waiting.extend(_SAID.dump_json(one).decode() for one in said)

    async def _pass_on(self) -> None:
        while self._waiting:
            if await self.replicas.reach(self._say_first) is None:
                return
            self._waiting.popleft()

    async def _say_first(self) -> bool:
        await self.replicas.ledger.say(self._waiting[0], self._clock.now())
        return True

    async def _nothing(self) -> None:
        """A question whose only answer is that somebody is there."""

    async def _listen(self) -> None:
        since = Millis(self._clock.now() - _BACK)
        news = await self.replicas.reach(lambda: self.replicas.ledger.said(self._read, since))
        if not news:
            return
        said = [one for one in map(self._understood, news) if one is not None]
        silences = {one.silence.id: one.silence for one in said if one.silence is not None}
        delivery = Delivery(
            silences=tuple(one for one in silences.values() if self._is_news(one)),
            acknowledgements=tuple(ours for one in said for ours in self._ours(one)),
        )
        if delivery.is_empty or await self._submit(REPLICAS, delivery):
            self._read = news[-1][0]

    def _ours(self, said: _Said) -> list[Acknowledgement]:
        """An acknowledgement for each alert here that is about the same."""
        one, names = said.acknowledgement, frozenset(said.names)
        if one is None:
            return []
        return [
            replace(one, alert=alert.id)
            for alert in self._firing()
            if names & names_of(alert)
            and alert.starts_at <= one.at
            and (alert.acknowledged is None or alert.acknowledged.at < one.at)
        ]

    def _is_news(self, said: Silence) -> bool:
        """Whether it is newer than what is known here; of what is over, only of what is known."""
        with self._runner.lock:
            known = self._runner.pipeline.parts.desk.silences.find(said.id)
        if known is None:
            return said.ends_at > self._clock.now()
        return known.updated_at < said.updated_at

    def _understood(self, news: tuple[int, str]) -> _Said | None:
        try:
            return _SAID.validate_json(news[1])
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            _logger.warning("not_understood", replica_message=news[0], reason=reason)
            return None

    def _firing(self) -> list[Alert]:
        parts = self._runner.pipeline.parts
        with self._runner.lock:
            return [*parts.book.firing, *parts.desk.firing]
