"""What a metric means, from its name: role, base unit, and whether it only ever grows.

Used where nobody said so: samples that were pushed, recorded files, a user's own queries. The
rules follow the naming of Prometheus (https://prometheus.io/docs/practices/naming/), the
OpenTelemetry semantic conventions, and the four golden signals (Beyer et al., Site Reliability
Engineering, chapter 6); resources come before latency, because the latency of a disk is not
what users wait for but a sign of the disk's saturation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from dos.model.telemetry import MetricKind, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What a name says about its values."""

    role: Role
    unit: str
    """Base unit: `seconds`, `bytes`, `ratio`, `cores`, `1/s`, or empty when unknown."""
    scale: float
    """Multiply a value by this to have it in `unit`."""
    kind: MetricKind


_UNITS: dict[str, tuple[str, float]] = {
    "s": ("seconds", 1.0),
    "sec": ("seconds", 1.0),
    "seconds": ("seconds", 1.0),
    "ms": ("seconds", 1e-3),
    "msec": ("seconds", 1e-3),
    "millis": ("seconds", 1e-3),
    "milliseconds": ("seconds", 1e-3),
    "us": ("seconds", 1e-6),
    "µs": ("seconds", 1e-6),
    "microseconds": ("seconds", 1e-6),
    "ns": ("seconds", 1e-9),
    "nanoseconds": ("seconds", 1e-9),
    "min": ("seconds", 60.0),
    "h": ("seconds", 3600.0),
    "by": ("bytes", 1.0),
    "bytes": ("bytes", 1.0),
    "kb": ("bytes", 1e3),
    "mb": ("bytes", 1e6),
    "gb": ("bytes", 1e9),
    "ki": ("bytes", 2.0**10),
    "kib": ("bytes", 2.0**10),
    "kiby": ("bytes", 2.0**10),
    "mi": ("bytes", 2.0**20),
    "mib": ("bytes", 2.0**20),
    "miby": ("bytes", 2.0**20),
    "gi": ("bytes", 2.0**30),
    "gib": ("bytes", 2.0**30),
    "giby": ("bytes", 2.0**30),
    "%": ("ratio", 0.01),
    "percent": ("ratio", 0.01),
    "pct": ("ratio", 0.01),
    "ratio": ("ratio", 1.0),
    "cores": ("cores", 1.0),
    "millicores": ("cores", 1e-3),
    "ops": ("1/s", 1.0),
    "rps": ("1/s", 1.0),
    "qps": ("1/s", 1.0),
    "tps": ("1/s", 1.0),
    "1/s": ("1/s", 1.0),
}
"""Units as people and UCUM write them, lower case, to base unit and scale."""

_AMBIGUOUS = {"s", "min", "h", "ki", "mi", "gi", "by", "ops"}
"""Units only where they are written as a unit (`(s)`, `unit="h"`), not as a word of a name."""

_RULES: tuple[tuple[Role, str], ...] = (
    # Page faults are work for the memory, not failures of requests; cAdvisor calls them failures.
    (Role.SATURATION, r"page fault|pg\w*fault|memory failures|oom"),
    (Role.ERRORS, r"un ?(healthy|available|ready)|not ready"),
    (
        Role.AVAILABILITY,
        (
            r"^up$|availability|success|uptime ratio|"
            r"(pods?|replicas|instances?|nodes?) (ready|available|healthy)|"
            r"(ready|available|healthy) (pods?|replicas|instances?|nodes?)|"
            r"health(y)? (check|hosts?|status)|^ready$|^healthy$"
        ),
    ),
    (
        Role.ERRORS,
        (
            r"err(or)?s?|fail(ed|ures?|s)?|[45] ?xx|exceptions?|faults?|timeouts?|"
            r"reject(ed|ions?|s)?|dropped|drops?|discards?|retrans( segs| segments)?|"
            r"dead letters?|aborts?"
        ),
    ),
    (
        Role.TRAFFIC,
        (
            r"net(work)?( \w+)* (bytes|packets|octets|in|out|receive|transmit|rx|tx)|"
            r"(in|out) (octets|segs)|(latency|duration|time|seconds|milliseconds)( \w+)? count"
        ),
    ),
    (
        Role.SATURATION,
        (
            r"cpu|mem(ory)?|rss|heap|swap|disk|fs|filesystem|volume|storage|inodes?|"
            r"io( time| now| wait)?|queue( \w+)? (length|size|depth|time)|queued?|backlog|"
            r"pending|lag|pool|threads?|goroutines?|connections?|sockets?|sockstat|processes|"
            r"procs|file ?descriptors?|fds?|filefd|load ?(1|5|15)|throttl(ed|ing)|"
            r"utili[sz]ation|saturation|in ?flight|active requests|concurrency|gc|vmstat|"
            r"schedstat|softnet|pressure|page ?(in|out)|pgpg(in|out)|capacity|"
            r"syscall (read|write)|context switches|intr|interrupts"
        ),
    ),
    (
        Role.LATENCY,
        (
            r"lat(ency)?|duration|delay|elapsed|"
            r"(response|request|processing|service|handling|wait) time|rt|ttfb|"
            r"p(50|75|90|95|99|999)|quantile|percentile"
        ),
    ),
    (
        Role.TRAFFIC,
        (
            r"requests?|req|rps|qps|tps|ops|calls?|throughput|hits|invocations|workload|lod|"
            r"load|traffic|messages?|msgs?|events|transactions?|queries|commands|orders|"
            r"sessions|logins|published|consumed|bytes (in|out|sent|received)|packets"
        ),
    ),
)
"""In this order, the first that matches whole words of the split name decides."""

_COMPILED = tuple((role, re.compile(rf"\b(?:{words})\b")) for role, words in _RULES)
_IN_BRACKETS = re.compile(r"[(\[]([^()\[\]]*)[)\]]\s*$")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_BREAK = re.compile(r"[^A-Za-z0-9%µ]+")
_GROWS = re.compile(r"_total$|_(seconds|milliseconds|bytes)_(count|sum|bucket)$")


@lru_cache(maxsize=65_536)
def meaning_of(metric: str, unit: str = "") -> Meaning:
    """Role, unit and kind of `metric`.

    Args:
        metric: `http_server_request_duration_seconds`, `PodSuccessRate(%)`, `lat_99`, ….
        unit: The unit if it is known (`ms`, `By`, `%`, …); else it is read off the name.
    """
    bracket = _IN_BRACKETS.search(metric)
    bare = metric[: bracket.start()] if bracket else metric
    words = [word.lower() for word in _BREAK.split(_HUMP.sub(" ", bare)) if word]
    written = unit or (bracket.group(1) if bracket else "")
    role = _role(" ".join(words))
    base, scale = _unit(written.strip().lower(), words, role)
    grows = _GROWS.search(metric) is not None
    return Meaning(
        role=role,
        unit=base,
        scale=scale,
        kind=MetricKind.COUNTER if grows else MetricKind.GAUGE,
    )


def _role(text: str) -> Role:
    return next((role for role, words in _COMPILED if words.search(text)), Role.OTHER)


def _unit(written: str, words: list[str], role: Role) -> tuple[str, float]:
    if written == "m" and "cpu" in words:
        return "cores", 1e-3  # Kubernetes' millicpu
    if written:
        return _UNITS.get(written, (written, 1.0))
    for word in reversed(words):
        if word in _UNITS and word not in _AMBIGUOUS:
            return _UNITS[word]
    if role is Role.TRAFFIC and words[-1:] == ["rate"]:
        return "1/s", 1.0
    return "", 1.0
