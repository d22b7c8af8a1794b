"""Which series run out of something, read off their names, units and labels.

A resource has a limit: a ratio ends at 1, bytes at a sibling series (`…_limit_bytes`), what is
free at 0, a certificate at the time written in it. What only follows the traffic (CPU, busy
disks, connections) does not run out but saturates, and is left to detection.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

from dos.detect.forecast.base import LimitRule
from dos.model.forecast import ForecastKind
from dos.model.telemetry import MetricKind, SeriesSpec


class Mode(IntEnum):
    """How a value becomes the share of the limit in use."""

    USED = 0
    """value / limit"""
    FREE = 1
    """1 - value / limit"""
    COUNTDOWN = 2
    """Seconds left, times `scale`."""
    DEADLINE = 3
    """The time of its end, in seconds since the epoch; a value too small for that counts down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is to be known of a series that runs out."""

    kind: ForecastKind
    mode: Mode
    limit: float | None = None
    """The value that is all there is; None: that of a partner, or the first value of what is
    free."""
    partners: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()
    """Names (as `key_of` has them) and labels of series of the same entity that hold the limit."""
    scale: float = 1.0
    """Seconds in the unit of a countdown."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_CERTIFICATE = _words("cert certs certificate certificates tls ssl x509 crl licence license")
_EXPIRY = _words("expiry expires expiration expire after valid validity remaining ttl")
_MEMORY = _words("memory mem heap rss")
_FILES = _words("filesystem fs volume storage pvc inode inodes tablespace")
_ROOM = _words("usage used space full free avail available capacity")
_TABLES = _words("quota resourcequota fds fd filefd conntrack pids")
_NO_STOCK = _words(
    "io iops ops read reads write writes written rate latency time busy queue wait errors error "
    "failed failures failcnt faults oom requests request duration bandwidth throughput cpu cores "
    "throttled network swap swapped cache cached pressure bucket count sum renew gc dropped"
)
"""Words of what flows or happens, and of what is not missed when it is full (caches, swap)."""
_FREE = _words("free avail available remaining left unused")
_USED = ("used", "usage", "allocated", "open", "entries", "working_set", "resident", "rss", "avail",
         "available", "free")  # fmt: skip
_LIMITS = ("limit", "max", "maximum", "capacity", "size", "total", "hard", "quota")
_SURE_LIMITS = frozenset(("limit", "max", "maximum", "hard"))
_KNOWN = {"container_memory_working_set_bytes": "container_spec_memory_limit_bytes"}
"""Pairs that do not follow the pattern."""
_UNTIL = _words("remaining until left ttl in days")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_BREAK = re.compile(r"[^A-Za-z0-9]+")


def key_of(metric: str) -> str:
    """`metric` in one spelling: lower case, words joined by `_`."""
    return "_".join(word.lower() for word in _BREAK.split(_HUMP.sub("_", metric)) if word)


def subject_of(spec: SeriesSpec, rules: Sequence[LimitRule] = ()) -> Subject | None:
    """What `spec` runs out of, or None when it is no such series.

    Args:
        spec: The series.
        rules: What the user said about limits; they come first.
    """
    for rule in rules:
        if rule.metric == spec.metric:
            return Subject(kind=rule.kind, mode=Mode.USED, limit=rule.limit)
    key = key_of(spec.metric)
    words = frozenset(key.split("_"))
    if spec.kind is MetricKind.COUNTER or words & _NO_STOCK:
        return None
    if words & _CERTIFICATE and words & _EXPIRY:
        mode = Mode.COUNTDOWN if words & _UNTIL else Mode.DEADLINE
        return Subject(
            kind=ForecastKind.CERTIFICATE, mode=mode, scale=86_400.0 if "days" in words else 1.0
        )
    kind = _kind(words)
    if kind is None or _is_limit(key, spec):
        return None
    free = bool(words & _FREE)
    mode = Mode.FREE if free else Mode.USED
    if spec.unit == "ratio":
        return Subject(kind=kind, mode=mode, limit=1.0)
    partners = tuple(_partners(key, spec))
    # Without a unit a number is an amount only where a partner says of how much.
    return Subject(kind=kind, mode=mode, partners=partners) if partners else None


def _kind(words: frozenset[str]) -> ForecastKind | None:
    if words & _TABLES:
        return ForecastKind.QUOTA
    if words & _FILES or ("disk" in words and words & _ROOM):
        return ForecastKind.DISK
    return ForecastKind.MEMORY if words & _MEMORY else None


def _is_limit(key: str, spec: SeriesSpec) -> bool:
    """Whether the series is itself a limit, and not what is held against one."""
    if ("type", "hard") in spec.labels:
        return True
    words = set(key.split("_"))
    if spec.unit == "ratio" or words.isdisjoint(_LIMITS):
        return False
    return bool(words & _SURE_LIMITS) or not any(f"_{used}_" in f"_{key}_" for used in _USED)


def _partners(key: str, spec: SeriesSpec) -> Iterator[tuple[str, tuple[tuple[str, str], ...]]]:
    """Where the limit may be found, likeliest first."""
    if ("type", "used") in spec.labels:
        hard = (("type", "hard") if one == ("type", "used") else one for one in spec.labels)
        yield key, tuple(sorted(hard))
        return
    if key in _KNOWN:
        yield _KNOWN[key], spec.labels
    padded = f"_{key}_"
    used = next((one for one in _USED if f"_{one}_" in padded), None)
    stem, tail = (key.removesuffix("_bytes"), "_bytes" if key.endswith("_bytes") else "")
    for limit in _LIMITS:
        if used is not None:
            yield padded.replace(f"_{used}_", f"_{limit}_").strip("_"), spec.labels
        yield f"{stem}_{limit}{tail}", spec.labels
    if used is not None and not tail and spec.unit == "bytes":
        for limit in _LIMITS:
            yield padded.replace(f"_{used}_", f"_{limit}_bytes_").strip("_"), spec.labels
