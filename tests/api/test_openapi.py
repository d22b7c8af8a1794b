"""The OpenAPI document is valid, and the API keeps what it says there."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, settings
from openapi_spec_validator import validate
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from dos.api.app import create_app
from dos.kit.secret import Secret
from tests.api.fake import open_filled

TOKEN = "t0k3n"
_APP = create_app(partial(open_filled, Secret(TOKEN)))
_DOCUMENT = _APP.openapi()
# The stream has no end, which a test that reads whole answers would wait for.
_ENDLESS = "/api/v1/stream"
# Unknown query parameters are ignored, as everywhere on the web, and samples are refused one by
# one within a 200, which is the point of collect-metrics.
_EXCLUDED_EVERYWHERE = [negative_data_rejection]
# No schema can say that each series must be posted once, or what there is in a world.
_EXCLUDED = {
    operation: [negative_data_rejection, positive_data_acceptance]
    for operation in (
        "POST /analyze",
        "POST /api/v1/simulation/faults",
        "POST /api/v1/simulation/actions",
        "DELETE /api/v1/simulation/faults",
        "POST /api/v1/feedback",
        # Matchers are a language of their own.
        "GET /api/v2/alerts",
        "GET /api/v2/alerts/groups",
        "GET /api/v2/silences",
        "POST /api/v2/alerts",
        "POST /api/v2/silences",
        # That an alert has a label, and does not end before it begins.
        "POST /api/v1/webhooks/alertmanager",
    )
}
# Without NUL, which no schema forbids in text and the API refuses everywhere (test_limits).
_CONFIG = SchemathesisConfig.from_dict({"generation": {"allow-x00": False}})
schema = schemathesis.openapi.from_asgi("/openapi.json", _APP, config=_CONFIG)
schema = schema.exclude(path=_ENDLESS)


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    """Path, method and operation."""
    return [
        (path, method, operation)
        for path, methods in _DOCUMENT["paths"].items()
        for method, operation in methods.items()
    ]


def test_the_document_is_valid() -> None:
    validate(_DOCUMENT)  # type: ignore[arg-type]


@pytest.mark.parametrize(("path", "method", "operation"), operations())
def test_every_operation_is_described(path: str, method: str, operation: dict[str, Any]) -> None:
    assert operation["summary"]
    assert operation["description"]
    assert operation["tags"]
    assert operation["operationId"].isidentifier(), (path, method)
    for parameter in operation.get("parameters", []):
        named = parameter["name"] == "limit" or parameter["in"] == "path"
        assert named or parameter["description"], (path, parameter["name"])


def test_operation_ids_are_unique() -> None:
    ids = [operation["operationId"] for _, _, operation in operations()]
    assert len(ids) == len(set(ids))


def test_every_tag_is_explained() -> None:
    explained = {tag["name"] for tag in _DOCUMENT["tags"] if tag["description"]}
    assert explained == {tag for _, _, operation in operations() for tag in operation["tags"]}


def test_errors_are_problem_documents_everywhere() -> None:
    for path, method, operation in operations():
        for status, answer in operation["responses"].items():
            if status != "default" and (int(status) < 400 or path == "/readyz"):
                continue
            sentences = path.startswith("/api/v2") and status in {"400", "404", "503"}
            kind = "application/json" if sentences else "application/problem+json"
            assert list(answer["content"]) == [kind], (path, method, status)


def test_no_two_pages_of_the_index_are_dead(client: TestClient) -> None:
    for path in client.get("/").json()["endpoints"]:
        if path != _ENDLESS:
            assert client.get(path).status_code in {200, 405}, path


@schema.parametrize()
@settings(max_examples=12, suppress_health_check=list(HealthCheck))
def test_the_api_keeps_what_the_document_says(case: schemathesis.Case) -> None:
    # What no schema can say: only DOS makes cursors, and a range must not end before it starts.
    query = case.query or {}
    query.pop("cursor", None)
    if "end" in query:
        query.pop("start", None)
    case.call_and_validate(
        headers={"Authorization": f"Bearer {TOKEN}"},
        excluded_checks=_EXCLUDED.get(case.operation.label, _EXCLUDED_EVERYWHERE),
    )
