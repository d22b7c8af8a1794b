"""A client of the Prometheus HTTP API: requests, answers, and what failures mean.

https://prometheus.io/docs/prometheus/latest/querying/api/ ; VictoriaMetrics, Mimir and Thanos
answer the same way. Answers are parsed and checked in one pass in compiled code. Messages name
the server and the query, never a header or a credential.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import NotRequired, Self, TypeVar

import httpx2
import numpy as np
from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from dos.ingest.promql.columns import Answer
from dos.ingest.promql.connection import Connection
from dos.kit.clock import SECOND, Millis
from dos.kit.duration import Duration, format_duration
from dos.kit.errors import DosError, PermanentError, TransientError

MAX_BODY = 64 * 2**20
"""Bytes of one answer at most."""
_MAX_SAID = 300
"""Characters of the server's own words in a message at most."""

T = TypeVar("T")


class QueryError(PermanentError):
    """The server is well, but refuses this query."""


class UnreachableError(TransientError):
    """No answer at all: what else is asked now will fail likewise."""


class _Item(TypedDict):
    metric: dict[str, str]
    value: NotRequired[tuple[float, float]]
    values: NotRequired[list[tuple[float, float]]]
    """Neither is there for native histograms."""


class _Data(TypedDict):
    resultType: str
    result: list[_Item]


class _Query(TypedDict):
    data: _Data


class _ResultType(TypedDict):
    resultType: str


class _Kind(TypedDict):
    data: _ResultType


class _Names(TypedDict):
    data: list[str]


class _Target(TypedDict):
    scrapeInterval: NotRequired[Duration]


class _Active(TypedDict):
    activeTargets: list[_Target]


class _Targets(TypedDict):
    data: _Active


class _Failure(TypedDict):
    error: str


_QUERY = TypeAdapter(_Query)
_KIND = TypeAdapter(_Kind)
_NAMES = TypeAdapter(_Names)
_TARGETS = TypeAdapter(_Targets)
_FAILURE = TypeAdapter(_Failure)


class PrometheusApi(AbstractAsyncContextManager["PrometheusApi"]):
    """A client; open it with `async with`.

    All methods raise `UnreachableError` or `TransientError` when trying again may help,
    `QueryError` when only this query is at fault, and `PermanentError` when nothing will work.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._client = connection.client()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def query(self, what: str, promql: str, at: Millis) -> Answer:
        """The value of each series at `at`."""
        # VictoriaMetrics hides its newest 30 s without `nocache`; others do not know the word.
        parameters = {"query": promql, "time": _seconds(at), "nocache": "1"}
        data = await self._read(what, "query", parameters)
        found = [one for one in data["result"] if "value" in one]
        return Answer(
            labels=[one["metric"] for one in found],
            which=np.arange(len(found), dtype=np.int32),
            at=np.full(len(found), at, np.int64),
            value=np.array([one["value"][1] for one in found], np.float64),
        )

    async def query_range(
        self, what: str, promql: str, start: Millis, end: Millis, step: Millis
    ) -> Answer:
        """The values of each series at `start`, `start + step`, … up to `end`."""
        parameters = {
            "query": promql,
            "start": _seconds(start),
            "end": _seconds(end),
            "step": _seconds(step),
        }
        data = await self._read(what, "query_range", parameters)
        found = data["result"]
        points = [one.get("values", []) for one in found]
        flat = np.array([pair for series in points for pair in series], np.float64).reshape(-1, 2)
        counts = np.array([len(series) for series in points], np.int64)
        return Answer(
            labels=[one["metric"] for one in found],
            which=np.repeat(np.arange(len(found), dtype=np.int32), counts),
            at=np.rint(flat[:, 0] * SECOND).astype(np.int64),
            value=np.ascontiguousarray(flat[:, 1]),
        )

    async def metric_names(self, wanted: Sequence[str], start: Millis, end: Millis) -> set[str]:
        """Which of the metric names `wanted` have samples in `[start, end]`."""
        parameters = {
            "match[]": '{__name__=~"' + "|".join(wanted) + '"}',
            "start": _seconds(start),
            "end": _seconds(end),
        }
        what = "the look for known metrics"
        body = await self._get(what, "label/__name__/values", parameters)
        return set(self._parsed(_NAMES, what, body)["data"])

    async def scrape_intervals(self) -> list[float]:
        """Scrape interval of each active target, in seconds; empty where the server has none."""
        what = "the look at the scrape targets"
        try:
            body = await self._get(what, "targets", {"state": "active"})
            targets = self._parsed(_TARGETS, what, body)["data"]["activeTargets"]
        except PermanentError:  # servers that only store and query do not know of targets
            return []
        intervals = (one.get("scrapeInterval") for one in targets)
        return [seconds for seconds in intervals if seconds]

    # --------------------------------------------------------------------------------- requests

    async def _read(self, what: str, path: str, parameters: Mapping[str, str]) -> _Data:
        limit = {"timeout": format_duration(self._connection.timeout)}
        body = await self._get(what, path, {**parameters, **limit})
        try:
            return self._parsed(_QUERY, what, body)["data"]
        except PermanentError:
            kind = self._parsed(_KIND, what, body)["data"]["resultType"]
            if kind in {"vector", "matrix"}:
                raise
            msg = f"{self._where(what)} yields a {kind}, not a vector."
            raise QueryError(msg, remedy="Query a metric, or wrap it in vector(…).") from None

    async def _get(self, what: str, path: str, parameters: Mapping[str, str]) -> bytes:
        """The body of an answer that succeeded.

        Raises:
            DosError: It did not; see the class.
        """
        url = f"{self._connection.url}/api/v1/{path}"
        try:
            async with self._client.stream("GET", url, params=parameters) as response:
                body = bytearray()
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > MAX_BODY:
                        msg = (
                            f"{self._where(what)} has an answer of more than {MAX_BODY >> 20} MiB."
                        )
                        raise QueryError(msg, remedy="Narrow or aggregate the query.")
        except httpx2.TimeoutException as error:
            limit = format_duration(self._connection.timeout)
            msg = f"{self._where(what)} had no answer within {limit}."
            kind = UnreachableError if isinstance(error, httpx2.ConnectTimeout) else TransientError
            raise kind(msg, remedy="Make the query cheaper or raise timeout.") from error
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error
        if response.status_code != 200:
            raise self._refused(what, response, bytes(body))
        return bytes(body)

    def _unreachable(self, error: httpx2.TransportError) -> UnreachableError:
        cause = str(error) or type(error).__name__
        msg = f"Cannot reach Prometheus at {self._connection.url}: {cause}."
        remedy = "Check the url, and that the server runs."
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            remedy = "Name the CA that signed its certificate in tls_config.ca_file."
        return UnreachableError(msg, remedy=remedy)

    def _refused(self, what: str, response: httpx2.Response, body: bytes) -> DosError:
        """What an answer other than 200 means."""
        code = response.status_code
        said = _said(body)
        where = f"{self._where(what)} was answered {code}{f' ({said})' if said else ''}."
        if code == 400:
            return QueryError(where, remedy="Correct the query.")
        if code == 422:  # it parsed, but its evaluation failed on today's data
            return TransientError(where, remedy="Correct or narrow the query.")
        if code in {401, 403}:
            return PermanentError(
                where, remedy="Check basic_auth, authorization and tenant of this source."
            )
        if code == 429 or code >= 500:
            return TransientError(
                where,
                remedy="The server is overloaded or ill; DOS tries again.",
                retry_after=_retry_after(response.headers),
            )
        if 300 <= code < 400:
            target = response.headers.get("location", "elsewhere")
            return PermanentError(where, remedy=f"It points to {target}: write that into url.")
        return PermanentError(
            where, remedy="Check the url: the API lies at <url>/api/v1 (Mimir: /prometheus/api/v1)."
        )

    def _parsed(self, shape: TypeAdapter[T], what: str, body: bytes) -> T:
        try:
            return shape.validate_json(body)
        except ValidationError as error:
            msg = f"{self._where(what)} was answered, but not in the form of the Prometheus API."
            raise PermanentError(
                msg, remedy="Check that url is a Prometheus, not a page in front of it."
            ) from error

    def _where(self, what: str) -> str:
        return f"Prometheus at {self._connection.url}: {what}"


def _seconds(at: Millis) -> str:
    return f"{at / SECOND:.3f}"


def _said(body: bytes) -> str:
    """The server's own words about a failure; nothing where it sends a page."""
    try:
        return _FAILURE.validate_json(body)["error"][:_MAX_SAID]
    except ValidationError:
        return ""


def _retry_after(headers: httpx2.Headers) -> float | None:
    """Seconds of `Retry-After`; its other form, a date, would need the server's clock."""
    text = headers.get("retry-after", "")
    return float(text) if text.isdecimal() else None
