"""The HTTP server around the API: binds early and fails clearly, ends on the first signal."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Iterator

import uvicorn

from dos.api.app import create_app
from dos.app.backend import SentinelBackend
from dos.app.sentinel import Sentinel
from dos.kit.errors import ConfigError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_GRACE = 5
"""Seconds that open requests get to finish."""


class Server(uvicorn.Server):
    """Ends normally on a signal: uvicorn's own raises it again, and the exit code is not 0.

    Args:
        config: Uvicorn's configuration.
        takes_signals: False where the embedding program listens for them.
    """

    def __init__(self, config: uvicorn.Config, *, takes_signals: bool = True) -> None:
        super().__init__(config)
        self._takes_signals = takes_signals

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals until the server has ended."""
        if not self._takes_signals:
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def server_for(sentinel: Sentinel, *, log_level: str, takes_signals: bool = True) -> Server:
    """A server of the API of `sentinel`, which somebody else starts and stops."""

    @contextlib.asynccontextmanager
    async def backend() -> AsyncIterator[SentinelBackend]:
        yield SentinelBackend(sentinel)

    config = uvicorn.Config(
        create_app(backend),
        log_level=log_level,
        access_log=False,
        timeout_graceful_shutdown=_GRACE,
    )
    return Server(config, takes_signals=takes_signals)


def listen(host: str, port: int) -> socket.socket:
    """A bound socket, before anything else is started.

    Raises:
        ConfigError: The address is taken, or not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        reason = error.strerror or str(error)
        msg = f"The API cannot listen on {host}:{port}: {reason}."
        raise ConfigError(msg, remedy="Choose another address, or end what uses it.") from error
    return listening


def address_of(listening: socket.socket) -> str:
    """The URL of a bound socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
