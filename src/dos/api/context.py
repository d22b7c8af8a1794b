"""The outermost layer: a request's id, common headers, and the last resort for errors.

Plain ASGI, so that streams pass through unbuffered.
"""

from __future__ import annotations

import re
import secrets

import structlog
from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dos.api.errors import ProblemError, problem_response
from dos.kit import log

REQUEST_ID = "X-Request-ID"

_ACCEPTABLE = re.compile(r"[A-Za-z0-9._~-]{1,64}")

_log = log.get("api")


def new_request_id() -> str:
    """128 random bits of the operating system: decisions do not depend on them."""
    return secrets.token_hex(16)


class RequestContext:
    """Gives each request an id and answers with a problem document when all else failed.

    The caller's `X-Request-ID` is kept if it is short and plain (it goes into logs and headers),
    else replaced. It is in the answer's header, in `scope["request_id"]`, and in every log line
    written while the request is served.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = given if _ACCEPTABLE.fullmatch(given) else new_request_id()
        scope["request_id"] = request_id
        status: int | None = None

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = request_id
                headers["X-Content-Type-Options"] = "nosniff"
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        bound = {"request_id": request_id, "method": scope["method"], "path": scope["path"]}
        with structlog.contextvars.bound_contextvars(**bound):
            try:
                await self._app(scope, receive, send_with_headers)
                _log.debug("request", status=status)
            except Exception:  # supervision boundary: one request's fault ends here
                _log.exception("request_failed")
                if status is not None:
                    raise  # too late for an answer: the server cuts the connection
                detail = "An unforeseen error; the log has its cause under this request id."
                failed = ProblemError(500, "internal-error", detail)
                answer = problem_response(Request(scope), failed)
                await answer(scope, receive, send_with_headers)
