"""The API in process, over the backend of `tests.api.fake`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from fastapi.testclient import TestClient

from dos.api.app import create_app
from tests.api.fake import FakeBackend


@pytest.fixture
def backend() -> FakeBackend:
    """A shop in trouble; change it before the first request."""
    return FakeBackend()


@pytest.fixture
def client(backend: FakeBackend) -> Iterator[TestClient]:
    """A client on this machine."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[FakeBackend]:
        await backend.fill()
        yield backend

    app = create_app(opened)
    with TestClient(app, base_url="http://127.0.0.1:8000", client=("127.0.0.1", 50_000)) as made:
        yield made
