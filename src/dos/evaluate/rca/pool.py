"""Runs pieces of work in a few processes and hands the results on in the order of the pieces.

Concurrency: a pool of spawned processes. There are never more than a few pieces per process under
way, so that memory does not grow with their number, and a caller that has enough stops the rest.
Workers ignore Ctrl-C but watch an event that this process sets then, and leave at once.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from typing import TypeVar

from dos.kit import log
from dos.kit.errors import PermanentError

P = TypeVar("P")
R = TypeVar("R")

_AHEAD = 2
"""Pieces under way per process."""


def in_order(work: Callable[[P], R], pieces: Iterable[P], jobs: int) -> Generator[R]:
    """`work(piece)` of each piece, in their order; may be left before its end.

    Args:
        work: A function of a module.
        pieces: May be endless.
        jobs: Processes; 1 works in this one.

    Raises:
        PermanentError: A process died.
    """
    if jobs == 1:
        yield from (work(piece) for piece in pieces)
        return
    stop = multiprocessing.get_context("spawn").Event()
    pool = ProcessPoolExecutor(
        max_workers=jobs,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(stop,),
    )
    try:
        yield from _queued(pool, work, pieces, jobs * _AHEAD)
    except BrokenProcessPool as error:
        msg = "A process of the bench died; the machine may be out of memory."
        raise PermanentError(msg, remedy="Use fewer --jobs.") from error
    except (KeyboardInterrupt, GeneratorExit):
        stop.set()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _queued(
    pool: ProcessPoolExecutor, work: Callable[[P], R], pieces: Iterable[P], most: int
) -> Iterator[R]:
    waiting: deque[Future[R]] = deque()
    for piece in pieces:
        with _deaf():
            waiting.append(pool.submit(work, piece))
        if len(waiting) >= most:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


@contextmanager
def _deaf() -> Iterator[None]:
    """Processes started inside ignore Ctrl-C from their first moment, imports included."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are not this thread's to change
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _begin(stop: Event) -> None:
    """Prepare a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    log.configure("error")
    threading.Thread(target=_leave, args=(stop,), name="leave", daemon=True).start()


def _leave(stop: Event) -> None:
    """In a worker's own thread: end the process when told to, whatever it is computing."""
    stop.wait()
    os._exit(1)
