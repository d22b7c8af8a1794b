"""How a route gets at the running application."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, Request

from dos.api.backend import Backend
from dos.api.shutdown import Stopping


def get_backend(request: Request) -> Backend:
    """The backend that the application's lifespan opened."""
    return cast("Backend", request.state.backend)


def get_stopping(request: Request) -> Stopping:
    """Tells streams that the server wants to stop."""
    return cast("Stopping", request.state.stopping)


BackendDep = Annotated[Backend, Depends(get_backend)]
StoppingDep = Annotated[Stopping, Depends(get_stopping)]
