"""Many requests at once, a few at a time, each with its own failure."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from dos.ingest.promql.api import QueryError, UnreachableError
from dos.ingest.promql.columns import Answer
from dos.kit.errors import DosError, PermanentError

Q = TypeVar("Q")


@dataclass(frozen=True, slots=True, kw_only=True)
class Replies(Generic[Q]):
    """What came of a round of requests; both in the order they were asked."""

    answers: tuple[tuple[Q, Answer], ...]
    failures: tuple[tuple[Q, DosError], ...]

    def raise_if_none(self) -> None:
        """Raise the first failure when nothing was answered.

        A failure that may pass comes before one that will not: as long as there is one, trying
        again makes sense.
        """
        if self.failures and not self.answers:
            errors = [error for _, error in self.failures]
            raise next((e for e in errors if not isinstance(e, PermanentError)), errors[0])


async def ask_all(
    queries: Sequence[Q], ask: Callable[[Q], Awaitable[Answer]], concurrency: int
) -> Replies[Q]:
    """Ask every query, `concurrency` at a time.

    Raises:
        DosError: The server cannot be reached or refuses us altogether; what was not asked yet
            is not asked any more. The failure of a single query is returned instead.
    """
    room = asyncio.Semaphore(concurrency)
    fatal: list[DosError] = []
    replies: dict[int, Answer | DosError] = {}

    async def one(position: int, query: Q) -> None:
        async with room:
            if fatal:
                return
            try:
                replies[position] = await ask(query)
            except DosError as error:
                replies[position] = error
                if isinstance(error, UnreachableError) or (
                    isinstance(error, PermanentError) and not isinstance(error, QueryError)
                ):
                    fatal.append(error)

    async with asyncio.TaskGroup() as tasks:
        for position, query in enumerate(queries):
            tasks.create_task(one(position, query))
    if fatal:
        raise fatal[0]
    answers: list[tuple[Q, Answer]] = []
    failures: list[tuple[Q, DosError]] = []
    for position, query in enumerate(queries):
        reply = replies[position]
        if isinstance(reply, Answer):
            answers.append((query, reply))
        else:
            failures.append((query, reply))
    return Replies(answers=tuple(answers), failures=tuple(failures))
