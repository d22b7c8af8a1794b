"""What is refused before any route sees it: large bodies, and addresses with a NUL.

FastAPI's own `max_body_size` answers in plain text when the route does not read the body; here
every refusal is a problem document.
"""

from __future__ import annotations

from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dos.api.errors import ProblemError, problem_response

MAX_BODY = 4 * 1024 * 1024
"""Bytes of a request body at most."""


class BodyLimit:
    """Refuses bodies over `MAX_BODY`.

    From the declared length before anything is read, and while reading where none was declared
    (chunked) or the declaration was wrong. Compressed bodies are refused: they would
    have to be inflated to know their size.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refused = _nul(scope) or self._refusal(Headers(scope=scope))
        if refused is not None:
            await problem_response(Request(scope), refused)(scope, receive, send)
            return
        read = 0

        async def receive_bounded() -> Message:
            nonlocal read
            message = await receive()
            if message["type"] == "http.request":
                read += len(message.get("body", b""))
                if read > MAX_BODY:
                    raise too_large()  # on its way through the route to the problem handler
            return message

        await self._app(scope, receive_bounded, send)

    @staticmethod
    def _refusal(headers: Headers) -> ProblemError | None:
        encoding = headers.get("content-encoding", "identity")
        if encoding.lower() != "identity":
            detail = f"Content-Encoding {encoding!r} is not understood; send the body as it is."
            return ProblemError(415, "unsupported-encoding", detail)
        declared = headers.get("content-length", "0")
        if declared.isascii() and declared.isdigit() and int(declared) > MAX_BODY:
            return too_large()
        return None


def _nul(scope: Scope) -> ProblemError | None:
    """Refuse NUL in the address: no id holds one, and PostgreSQL fails on text that does."""
    if "\0" in scope["path"] or b"%00" in scope["query_string"]:
        return ProblemError(400, "malformed-address", "The address holds a NUL character.")
    return None


def too_large() -> ProblemError:
    """413: the body is over `MAX_BODY`."""
    detail = f"The body is over {MAX_BODY} bytes; send the samples in several requests."
    # The rest of the body is left unread, so this connection cannot carry another request.
    return ProblemError(413, "body-too-large", detail, headers={"Connection": "close"})
