"""Prometheus, and whatever speaks its HTTP API: VictoriaMetrics, Mimir, Thanos.

At times that are multiples of `step` all queries are evaluated for that very time, and the
answers leave as one delivery. What lies between the newest sample a query has delivered and now
is fetched as a range first: two hours for the baseline at the start, the gap after an outage. So
nothing is lost, and nothing comes twice.

Every 15 s it looks anew which presets fit what the server has, so that exporters may be added
while DOS runs. One task; requests run side by side, `concurrency` at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from dos.ingest.base import Delivery, Sink
from dos.ingest.promql.alerts import RuleEvaluator
from dos.ingest.promql.api import PrometheusApi, QueryError
from dos.ingest.promql.ask import Replies, ask_all
from dos.ingest.promql.columns import Answer, BoundQuery, Columns
from dos.ingest.promql.connection import Connection
from dos.ingest.promql.identity import Identities, NamespaceInIdentity
from dos.ingest.promql.plan import (
    USUAL_SCRAPE_INTERVAL,
    BoundEdges,
    Plan,
    make_plan,
    scrape_interval,
    variables_for,
)
from dos.ingest.promql.presets import load_preset
from dos.ingest.promql.queries import EdgeQuery, Query, expand
from dos.ingest.promql.rule_file import read_rules
from dos.kit import log
from dos.kit.clock import MINUTE, SECOND, Clock, Millis
from dos.kit.duration import Duration
from dos.kit.errors import ConfigError, DosError
from dos.kit.plugins import Plugin
from dos.model.alert import PostedAlert
from dos.model.graph import EdgeEvidence
from dos.model.ids import EntityId
from dos.model.telemetry import SampleFrame

_LOOK_EVERY = 15 * SECOND
"""How often presets are chosen anew, and edges are read: two small requests, and what was
deployed a moment ago is watched."""
_CATCH_UP = 15 * MINUTE
"""After an outage: samples this recent are decided on, older ones only feed the baseline."""
_MAX_POINTS = 11_000
"""Points per series in one range: Prometheus refuses more."""
_WINDOW_SAMPLES = 200_000
"""Samples that one window of a back-fill should hold in all: keeps each step short."""
_FIRST_POINTS = 60
"""Points of the first window, when it is not known yet how many series there are."""

_log = log.get("ingest")


class Config(Connection):
    """Keys of `type: prometheus`."""

    step: Duration = Field(default=15.0, ge=1.0, description="Time between two evaluations.")
    query_offset: Duration = Field(
        default=1.0,
        description="Ask this long after the time asked about, for samples that arrive late "
        "(remote write: 30s).",
    )
    lookback: Duration = Field(
        default=7200.0, description="How much of the past to fetch at the start."
    )
    scrape_interval: Duration | None = Field(
        default=None,
        gt=0,
        description="Of the slowest targets; learned from the server if left out.",
    )
    presets: tuple[str, ...] | Literal["auto"] = Field(
        default="auto", description="Query sets to use; auto: all that fit what the server has."
    )
    queries: tuple[Query, ...] = Field(default=(), description="Your own queries.")
    edges: tuple[EdgeQuery, ...] = Field(default=(), description="Your own edge queries.")
    namespace_in_identity: NamespaceInIdentity = Field(
        default=NamespaceInIdentity.AUTO,
        description="auto: a service is `name`, and `namespace/name` where a name is found in "
        "more than one namespace.",
    )
    namespaces: tuple[str, ...] = Field(
        default=(), description="Leave out what is in other namespaces than these; empty: none."
    )
    rule_files: tuple[str, ...] = Field(
        default=(),
        description="Files of alerting rules in Prometheus's format, which DOS evaluates here; "
        "patterns such as rules/*.yml too.",
    )
    aliases: dict[str, str] = Field(
        default_factory=dict,
        description="Names to replace, where spans and pods call one service differently.",
    )

    @field_validator("presets")
    @classmethod
    def _presets_exist(
        cls, presets: tuple[str, ...] | Literal["auto"]
    ) -> tuple[str, ...] | Literal["auto"]:
        try:
            for name in () if presets == "auto" else presets:
                load_preset(name)
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return presets

    @model_validator(mode="after")
    def _queries_expand(self) -> Self:
        known = variables_for(self.step, USUAL_SCRAPE_INTERVAL)
        try:
            for query in self.queries:
                expand(query.promql, known, f"query {query.metric}")
            for number, edge in enumerate(self.edges, start=1):
                expand(edge.promql, known, f"edge query {number}")
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return self


class Prometheus:
    """Pulls from one server. Its progress survives a failed `run`, so that the next goes on."""

    def __init__(self, config: Config, *, name: str, clock: Clock, rng: Random) -> None:
        del rng  # nothing here is left to chance
        self._config = config
        self._name = name
        self._clock = clock
        self._step = round(config.step * SECOND)
        self._identities = Identities(
            config.namespace_in_identity, aliases=config.aliases, namespaces=config.namespaces
        )
        self._columns = Columns(self._identities)
        self._plan = Plan()
        self._rules = RuleEvaluator(read_rules(config.rule_files), config.url)
        self._scrape = config.scrape_interval
        self._looked_at: Millis | None = None
        self._seen: dict[str, int] = {}
        """By query: the newest time it was answered for."""
        self._live: set[str] = set()
        """Queries that were answered for the present once: their back-fill is done."""
        self._failing: dict[str, DosError] = {}
        self._failing_edges: dict[str, DosError] = {}
        """By query: why it has no answer at present."""
        self._last = Millis(-1)
        """Time of the last delivery."""

    async def run(self, sink: Sink) -> None:
        """Deliver every `step` until cancelled."""
        offset = round(self._config.query_offset * SECOND)
        async with PrometheusApi(self._config) as api:
            while True:
                at = Millis((self._clock.now() - offset) // self._step * self._step)
                if at > self._last:
                    await self._collect(api, sink, at)
                    self._last = at
                due = self._last + self._step + offset
                await self._clock.sleep((due - self._clock.now()) / SECOND)

    async def _collect(self, api: PrometheusApi, sink: Sink, at: Millis) -> None:
        """Fetch what is missing before `at`, then `at` itself."""
        look = self._looked_at is None or at - self._looked_at >= _LOOK_EVERY
        if look:
            await self._look(api, at)
        await self._catch_up(api, sink, at)

        async def ask(bound: BoundQuery) -> Answer:
            return await api.query(bound.key, bound.promql, at)

        replies = await ask_all(self._plan.queries, ask, self._config.concurrency)
        replies.raise_if_none()
        for bound, _ in replies.answers:
            self._seen[bound.key] = at
            self._live.add(bound.key)
        self._failing = {bound.key: error for bound, error in replies.failures}
        frame = self._columns.frame(replies.answers)
        edges: tuple[EdgeEvidence, ...] = ()
        if look:
            edges = await self._edges(api, at)
            self._looked_at = at
        alerts = await self._rules.evaluate(api, at, self._config.concurrency)
        await self._deliver(sink, frame, edges=edges, alerts=alerts)

    async def _deliver(
        self,
        sink: Sink,
        frame: SampleFrame | None,
        *,
        history: bool = False,
        edges: tuple[EdgeEvidence, ...] = (),
        alerts: tuple[PostedAlert, ...] = (),
    ) -> None:
        failing = {**self._failing, **self._failing_edges}
        delivery = Delivery(
            frame=frame,
            history=history,
            entities=self._columns.new_entities(),
            edges=edges,
            alerts=alerts,
            problems=(
                *self._plan.problems,
                *map(str, failing.values()),
                *self._rules.problems,
            ),
        )
        await sink.deliver(delivery)

    # ----------------------------------------------------------------------------- what to ask

    async def _look(self, api: PrometheusApi, at: Millis) -> None:
        """Choose presets for what the server has now."""
        if self._scrape is None:
            self._scrape = await scrape_interval(api, at)
        plan = await make_plan(
            api,
            at,
            presets=self._config.presets,
            queries=self._config.queries,
            edges=self._config.edges,
            variables=variables_for(self._config.step, self._scrape or USUAL_SCRAPE_INTERVAL),
        )
        if plan.presets != self._plan.presets:
            _log.info(
                "presets chosen",
                source=self._name,
                presets=plan.presets,
                scrape_interval=self._scrape or f"unknown, taken as {USUAL_SCRAPE_INTERVAL:g}",
            )
        self._plan = plan

    # --------------------------------------------------------------------------------- the past

    async def _catch_up(self, api: PrometheusApi, sink: Sink, at: Millis) -> None:
        """Fetch as ranges what lies between the last answers and `at`."""
        before = at - self._step
        lookback = round(self._config.lookback * SECOND)
        cut = self._on_grid(at - _CATCH_UP)
        oldest = self._on_grid(at - max(lookback, _CATCH_UP))
        for bound in self._plan.queries:
            start = self._seen.setdefault(bound.key, self._on_grid(at - lookback) - self._step)
            self._seen[bound.key] = max(start, oldest - self._step)
            if isinstance(self._failing.get(bound.key), QueryError):
                self._seen[bound.key] = before  # it is wrong: no need to ask twice
        new = [bound for bound in self._plan.queries if bound.key not in self._live]
        known = [bound for bound in self._plan.queries if bound.key in self._live]
        await self._fill(api, sink, new, before, history=True)
        await self._fill(api, sink, known, cut, history=True)
        await self._fill(api, sink, known, before, history=False)

    async def _fill(
        self,
        api: PrometheusApi,
        sink: Sink,
        queries: Sequence[BoundQuery],
        until: int,
        *,
        history: bool,
    ) -> None:
        """Deliver, window by window, what `queries` lack up to `until`.

        A query that fails here goes on without this part of the past: its present counts more,
        and where that fails too the status says so.
        """
        behind = [bound for bound in queries if self._seen[bound.key] < until]
        while behind:
            start = min(self._seen[bound.key] for bound in behind) + self._step
            end = min(start + (self._window_points() - 1) * self._step, until)
            replies = await self._ranges(api, behind, end)
            frame = self._columns.frame(replies.answers)
            for bound, _ in replies.answers:
                self._seen[bound.key] = end
            for bound, error in replies.failures:
                self._seen[bound.key] = until
                _log.warning("past left out", source=self._name, error=str(error))
            if frame is not None:
                await self._deliver(sink, frame, history=history)
            behind = [bound for bound in behind if self._seen[bound.key] < until]

    async def _ranges(
        self, api: PrometheusApi, behind: Sequence[BoundQuery], end: int
    ) -> Replies[BoundQuery]:
        """What each query that lacks it has up to `end`."""

        async def ask(bound: BoundQuery) -> Answer:
            start = Millis(self._seen[bound.key] + self._step)
            return await api.query_range(
                bound.key, bound.promql, start, Millis(end), Millis(self._step)
            )

        lacking = [bound for bound in behind if self._seen[bound.key] < end]
        return await ask_all(lacking, ask, self._config.concurrency)

    def _on_grid(self, at: int) -> int:
        return at // self._step * self._step

    def _window_points(self) -> int:
        if not len(self._columns):
            return _FIRST_POINTS
        return max(1, min(_MAX_POINTS, _WINDOW_SAMPLES // len(self._columns)))

    # -------------------------------------------------------------------------------- the graph

    async def _edges(self, api: PrometheusApi, at: Millis) -> tuple[EdgeEvidence, ...]:
        """Edges as of `at`, sorted."""

        async def ask(bound: BoundEdges) -> Answer:
            return await api.query(bound.key, bound.promql, at)

        replies = await ask_all(self._plan.edges, ask, self._config.concurrency)
        found: dict[tuple[EntityId, EntityId, str], EdgeEvidence] = {}
        for bound, answer in replies.answers:
            query = bound.query
            for labels in answer.labels:
                caller = self._identities.entity(query.caller, labels)
                callee = self._identities.entity(query.callee, labels)
                if caller is None or callee is None or caller.id == callee.id:
                    continue
                self._columns.saw(caller)
                self._columns.saw(callee)
                found[caller.id, callee.id, query.kind] = EdgeEvidence(
                    caller=caller.id,
                    callee=callee.id,
                    kind=query.kind,
                    source=query.source,
                    seen_at=at,
                    confidence=query.confidence,
                )
        self._failing_edges = {bound.key: error for bound, error in replies.failures}
        return tuple(found[key] for key in sorted(found))


PLUGIN = Plugin(Config, Prometheus)
