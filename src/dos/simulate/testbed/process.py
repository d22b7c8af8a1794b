"""The door of a service's process: `python -m dos.simulate.testbed.process PARENT_PID`.

Reads its settings, one line of JSON, from standard input (the token is nobody else's business),
serves until it is told to stop, and dies with its parent.
"""

from __future__ import annotations

import socket
import sys

import uvicorn

from dos.kit import log
from dos.kit.clock import SystemClock
from dos.simulate.testbed import leash
from dos.simulate.testbed.service import ShopService, settings_from

NO_PORT = 75
"""Exit code when somebody else has taken the port meanwhile (sysexits.h: EX_TEMPFAIL)."""
_GRACE = 2
"""Seconds that open requests get to finish."""


def main(parent: int) -> int:
    """Serve until SIGTERM; returns the exit code."""
    leash.bind(parent)
    log.configure("warning", "json")
    settings = settings_from(sys.stdin.readline())
    listener = socket.socket(socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", settings.port))
    except OSError as error:
        log.get("testbed").error("no port", port=settings.port, error=str(error))
        return NO_PORT
    service = ShopService(settings, SystemClock())
    config = uvicorn.Config(
        service.app, log_level="warning", access_log=False, timeout_graceful_shutdown=_GRACE
    )
    with listener:
        uvicorn.Server(config).run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
