"""Logging: structlog key-value lines, coloured on a terminal and JSON otherwise."""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog

Format = Literal["auto", "console", "json"]


def configure(level: str = "info", fmt: Format = "auto") -> None:
    """Set up logging for the process, to standard error; idempotent.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        fmt: `console`, `json`, or `auto` (console on a terminal).
    """
    numeric = logging.getLevelNamesMapping()[level.upper()]
    terminal = fmt == "console" or (fmt == "auto" and sys.stderr.isatty())
    # Tracebacks without the values of local variables: those may be secrets.
    last: list[structlog.typing.Processor]
    if terminal:
        plain = structlog.dev.plain_traceback
        last = [
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)
        ]
    else:
        last = [
            structlog.processors.ExceptionRenderer(),
            structlog.processors.JSONRenderer(default=str),
        ]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            *last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(numeric),
        # Looked up for each line: whoever redirects standard error gets the lines.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=max(numeric, logging.WARNING), stream=sys.stderr, force=True)


def get(room: str) -> structlog.typing.FilteringBoundLogger:
    """A logger whose lines carry `room` (the package that speaks)."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(room=room)
    return logger
