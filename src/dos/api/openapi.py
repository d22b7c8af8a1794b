"""What FastAPI's own OpenAPI document lacks."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from dos.api.errors import Problem

_STREAM = {
    "schema": {"type": "string", "description": "Each `data` line is an event as in `EventList`."},
    "example": (
        "event: change_seen\n"
        'data: {"seq":10,"at":"2026-11-23T12:00:00.000Z","type":"change_seen","change":{...}}\n'
        "id: 10\n\n"
    ),
}


def describe(app: FastAPI) -> None:
    """Complete the OpenAPI document of `app`.

    * FastAPI lists the models of JSON answers only; problems have a media type of their own.
    * It describes streams in the words of OpenAPI 3.2 inside a document of version 3.1.
    """
    generate = app.openapi

    def complete() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generate()
            problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            document["components"]["schemas"].update(problem.pop("$defs"), Problem=problem)
            for methods in document["paths"].values():
                for operation in methods.values():
                    for answer in operation["responses"].values():
                        if "text/event-stream" in answer.get("content", {}):
                            answer["content"]["text/event-stream"] = _STREAM
        return generate()

    app.openapi = complete  # type: ignore[method-assign]  # FastAPI's documented way
