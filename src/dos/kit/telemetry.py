"""Self-telemetry: a span per stage, for whoever runs DOS with an OpenTelemetry SDK.

Only the OpenTelemetry API is a dependency: without an SDK configured in the process every span is
a no-op that costs about a microsecond.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from opentelemetry import trace
from opentelemetry.trace import Span

_tracer = trace.get_tracer("dos")


def stage(name: str) -> AbstractContextManager[Span]:
    """A span around one stage of the pipeline: `with stage("detect"): …`."""
    return _tracer.start_as_current_span(f"dos.{name}")
