"""The shop for a real server: `uvicorn --factory tests.api.served:make_app`."""

from __future__ import annotations

from fastapi import FastAPI

from dos.api.app import create_app
from tests.api.fake import open_filled


def make_app() -> FastAPI:
    """The API over the shop."""
    return create_app(open_filled)
