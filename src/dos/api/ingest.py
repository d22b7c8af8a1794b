"""Serves the endpoints of sources that are pushed to; see `dos.ingest.endpoint`.

A plain ASGI middleware in front of FastAPI: what it serves may be compressed and is not JSON.
"""

from __future__ import annotations

from types import MappingProxyType

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from dos.api.auth import refuse_writer
from dos.api.backend import Backend
from dos.api.errors import ProblemError, problem_response
from dos.api.limits import MAX_BODY, too_large
from dos.ingest.endpoint import Endpoint, Posted


class IngestEndpoints:
    """Answers what a source has an endpoint for, and passes on all else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        backend: Backend | None = scope.get("state", {}).get("backend")
        if scope["type"] != "http" or backend is None:
            await self._app(scope, receive, send)
            return
        endpoint = backend.endpoints.get(scope["path"])
        if endpoint is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            response = await _answer(request, endpoint, backend)
        except ProblemError as refused:
            response = problem_response(request, refused)
        except ClientDisconnect:
            return
        await response(scope, receive, send)


async def _answer(request: Request, endpoint: Endpoint, backend: Backend) -> Response:
    if request.method != "POST":
        detail = f"{endpoint.path} takes POST only."
        raise ProblemError(405, "method-not-allowed", detail, headers={"Allow": "POST"})
    if not endpoint.signed:
        refuse_writer(request, backend.write_token)
    body = await _body(request)
    answer = await endpoint.handle(
        Posted(
            headers=request.headers,
            query=MappingProxyType(dict(request.query_params)),
            body=body,
        )
    )
    media = answer.content_type if answer.body else None
    return Response(answer.body, answer.status, dict(answer.headers), media)


async def _body(request: Request) -> bytes:
    """All of it, if it is not too large: by its declared length before anything is read."""
    declared = request.headers.get("content-length", "0")
    if declared.isascii() and declared.isdigit() and int(declared) > MAX_BODY:
        raise too_large()
    pieces: list[bytes] = []
    read = 0
    async for piece in request.stream():
        read += len(piece)
        if read > MAX_BODY:
            raise too_large()
        pieces.append(piece)
    return b"".join(pieces)
