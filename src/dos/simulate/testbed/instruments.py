"""What a service tells Prometheus about itself, named by OpenTelemetry's semantic conventions.

`http.server.request.duration`, `http.client.request.duration`, `db.client.operation.duration` and
`messaging.process.duration` in the names that the SDKs' Prometheus exporters give them, and
prometheus-client's own `process_*`. Recorded where it happens; nothing is added up elsewhere.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST
_BUCKETS = (
    *(0.001, 0.0025, 0.005, 0.0075, 0.01, 0.0175, 0.025, 0.0375, 0.05, 0.075, 0.1),
    *(0.175, 0.25, 0.375, 0.5, 0.75, 1.0, 2.5, 5.0),
)
"""Seconds: those that the conventions advise, with more where a small system's requests lie."""


class Instruments:
    """The metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._server = Histogram(
            "http_server_request_duration_seconds",
            "Duration of HTTP requests served.",
            ["http_request_method", "http_route", "http_response_status_code"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.active = Gauge(
            "http_server_active_requests", "HTTP requests being served.", registry=self.registry
        )
        self._client = Histogram(
            "http_client_request_duration_seconds",
            "Duration of HTTP requests sent.",
            ["http_request_method", "server_address", "http_response_status_code", "error_type"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._store = Histogram(
            "db_client_operation_duration_seconds",
            "Duration of database operations.",
            ["db_system_name", "db_operation_name", "server_address", "error_type"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._message = Histogram(
            "messaging_process_duration_seconds",
            "Duration of the work on messages.",
            ["messaging_operation_name"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.waiting = Gauge(
            "messaging_queue_length", "Messages that wait to be worked on.", registry=self.registry
        )

    def served(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self._server.labels(method, route, str(status)).observe(seconds)

    def called(
        self, method: str, callee: str, *, status: int | None, error: str, seconds: float
    ) -> None:
        """A call came back.

        Args:
            method: Of HTTP.
            callee: Name of the service called.
            status: Of the answer; None where there was none.
            error: The status or the exception that made it a failure; empty for a success.
            seconds: Until the answer was there or the call was given up.
        """
        code = "" if status is None else str(status)
        self._client.labels(method, callee, code, error).observe(seconds)

    def stored(
        self, system: str, operation: str, *, server: str, error: str, seconds: float
    ) -> None:
        """A database answered; `server` is empty for one inside the process."""
        self._store.labels(system, operation, server, error).observe(seconds)

    def worked(self, seconds: float) -> None:
        """A message was worked on."""
        self._message.labels("send").observe(seconds)

    def text(self) -> bytes:
        """All of it in the text format."""
        return generate_latest(self.registry)
