"""Every error as a problem document (RFC 9457), with the request's id in it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from dos.kit.errors import DosError, TransientError

PROBLEM_JSON = "application/problem+json"

_PARAMETER = re.compile(r"\\\{[^}]*\\\}")
"""A parameter in the template of a path, escaped."""
_MAX_ERRORS = 50
"""Items in `errors` at most: a list of 10,000 bad ones is told by its first few."""


class ProblemItem(BaseModel):
    """One thing that is wrong with the request."""

    location: str = Field(description="Where: `query.limit`, `body.series.0.metric`, …")
    message: str = Field(description="What is wrong there.")


class Problem(BaseModel):
    """A problem document as of RFC 9457."""

    type: str = Field(description="What kind of problem; `about:blank`: as the status says.")
    title: str = Field(description="The kind in words.")
    status: int = Field(ge=400, le=599)
    detail: str = Field(description="What went wrong here, and what to do about it.")
    instance: str = Field(description="The path that was asked for.")
    request_id: str = Field(description="As in `X-Request-ID` and in the log lines.")
    errors: list[ProblemItem] | None = Field(
        default=None, description="What is wrong with the request, item by item."
    )


class ProblemError(HTTPException):
    """Ends a request with a problem of a kind of its own.

    Args:
        status: HTTP status.
        kind: Short name of the kind, such as `queue-full`; becomes `urn:dos:problem:queue-full`.
        detail: What went wrong and what to do, for a person.
        retry_after: Seconds after which a repetition may succeed; sent as `Retry-After`.
        headers: Further headers of the answer.
        errors: What is wrong with the request, item by item.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        retry_after: int | None = None,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[ProblemItem] = (),
    ) -> None:
        retry = {} if retry_after is None else {"Retry-After": str(retry_after)}
        super().__init__(status, detail, {**retry, **(headers or {})})
        self.kind = kind
        self.errors = list(errors)


def not_found(what: str, name: object) -> ProblemError:
    """404 for a thing of the watched system."""
    return ProblemError(404, "not-found", f"There is no {what} {name!r}.")


def invalid(location: str, message: str) -> ProblemError:
    """422 for one parameter that the schema alone could not refuse."""
    item = ProblemItem(location=location, message=message)
    return ProblemError(422, "invalid-request", f"{location}: {message}", errors=[item])


def problem_response(request: Request, error: HTTPException) -> JSONResponse:
    """`error` as the answer to `request`."""
    phrase = HTTPStatus(error.status_code).phrase
    kind = error.kind if isinstance(error, ProblemError) else None
    items = error.errors if isinstance(error, ProblemError) else []
    problem = Problem(
        type=f"urn:dos:problem:{kind}" if kind else "about:blank",
        title=kind.replace("-", " ").capitalize() if kind else phrase,
        status=error.status_code,
        detail=str(error.detail or phrase),
        instance=request.url.path,
        request_id=request.scope.get("request_id", ""),
        errors=items[:_MAX_ERRORS] or None,
    )
    return JSONResponse(
        problem.model_dump(exclude_none=True),
        error.status_code,
        headers=dict(error.headers or {}),
        media_type=PROBLEM_JSON,
    )


def install(app: FastAPI) -> None:
    """Make `app` answer every foreseen error with a problem document.

    What nobody foresaw is caught further out, in `dos.api.context`.
    """
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(DosError, _on_dos)


async def _on_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101  registered for this class only
    if error.status_code == 404 and not isinstance(error, ProblemError):
        error = HTTPException(404, "There is nothing at this path; / names what there is.")
    if error.status_code == 405:
        # The router knows the methods of a route as a set: its own header is in any order.
        named = (error.headers or {}).get("Allow", "").split(", ")
        methods = _methods_at(request) or sorted(named)
        error = HTTPException(405, error.detail, {"Allow": ", ".join(methods)})
    return problem_response(request, error)


def _methods_at(request: Request) -> list[str]:
    """All methods of the path; the router names those of the first route there only."""
    paths: dict[str, dict[str, object]] = request.app.openapi()["paths"]
    return sorted(
        method.upper()
        for template, methods in paths.items()
        if re.fullmatch(_PARAMETER.sub("[^/]+", re.escape(template)), request.url.path)
        for method in methods
    )


async def _on_validation(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101  registered for this class only
    found = error.errors()
    if found[0]["type"] == "json_invalid":
        at = found[0]["loc"][-1]
        detail = f"The body is not JSON: {found[0]['ctx']['error']} at character {at}."
        return problem_response(request, ProblemError(400, "malformed-body", detail))
    if isinstance(error.body, bytes):  # FastAPI reads JSON only where it is declared
        detail = "Send JSON, with the header Content-Type: application/json."
        return problem_response(request, ProblemError(415, "unsupported-media-type", detail))
    items = [
        ProblemItem(
            location=_location(one["loc"]), message=one["msg"].removeprefix("Value error, ")
        )
        for one in found
    ]
    first = f"{items[0].location}: {items[0].message}."
    more = f" ({len(items) - 1} more in `errors`.)" if len(items) > 1 else ""
    return problem_response(
        request, ProblemError(422, "invalid-request", first + more, errors=items)
    )


async def _on_dos(request: Request, error: Exception) -> JSONResponse:
    """A `DosError` that reached the edge: its message was written for people."""
    assert isinstance(error, DosError)  # noqa: S101  registered for this class only
    if isinstance(error, TransientError):
        wait = max(1, round(error.retry_after or 5))
        problem = ProblemError(503, "unavailable", str(error), retry_after=wait)
    else:
        problem = ProblemError(422, "cannot-be-processed", str(error))
    return problem_response(request, problem)


def _location(loc: Sequence[int | str]) -> str:
    """`query.limit`; a key of the body may hold half a surrogate pair, which no encoding takes."""
    return ".".join(str(part) for part in loc).encode(errors="replace").decode()


_WHY = {
    400: "The request is malformed.",
    401: "A bearer token is needed, or the one given is wrong.",
    403: "Not allowed from where the request comes from.",
    404: "There is no such thing.",
    409: "The request does not fit the present state.",
    413: "The body is too large.",
    415: "The body has a media type or encoding that is not understood.",
    422: "The request is well-formed but wrong; `errors` says where.",
    503: "Not now; `Retry-After` says when to try again.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route that may end with these statuses (beside the unforeseen)."""
    schema = {"$ref": "#/components/schemas/Problem"}
    content = {PROBLEM_JSON: {"schema": schema}}
    documented: dict[int | str, dict[str, Any]] = {
        status: {"description": _WHY[status], "content": content} for status in sorted(statuses)
    }
    documented["default"] = {"description": "Any other error.", "content": content}
    return documented
