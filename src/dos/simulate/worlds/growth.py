"""Who calls whom in a generated world: a graph with the shape of those in production.

What is known of such graphs is what the traces of Alibaba show (Luo et al., Characterizing
Microservice Dependency and Performance, SoCC 2021; Winchester et al., Complexity at
Scale, arXiv:2504.13141, 2025): both degrees have heavy tails; most services call one or two
others, more than a tenth calls five and more; about one in twenty has sixteen callers and more, and
nearly every request meets some of these; requests are mostly three to five services deep, some more
than ten; many services are leaves, and many leaves are caches and databases.

A service has a rank, its distance from the users. It is called by one service of the rank above,
which makes a tree, and by any others above it that choose it. How many a service chooses and how
often it is chosen are both drawn from Pareto distributions: the model with hidden variables of
Caldarelli et al., Phys. Rev. Lett. 89, 2002. Ranks make the graph acyclic by construction.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from random import Random

from dos.model.entity import EntityKind

OUT_TAIL, MOST_CALLEES = 0.95, 80
"""Exponent of the Pareto distribution of callees that a service wants, and the most it has."""
IN_TAIL, MOST_POPULAR = 1.0, 160.0
"""The same of how attractive a service is as a callee, relative to the least attractive."""
RANKS = (0.15, 0.22, 0.21, 0.15, 0.1, 0.06, 0.04, 0.025, 0.018, 0.012, 0.009, 0.006)
"""Share of the services at each distance from the gateways, from 1 on."""
LEAST_OF_RANK = 2
"""Services to be expected at a distance for it to occur: small systems are shallow."""
SERVICES_PER_GATEWAY = 120
SHARES = {
    EntityKind.DATABASE: 0.17,
    EntityKind.CACHE: 0.11,
    EntityKind.QUEUE: 0.02,
    EntityKind.EXTERNAL: 0.025,
}
"""Of all that is no gateway; the rest are stateless services."""
ATTRACTION = {EntityKind.DATABASE: 0.1, EntityKind.CACHE: 1.6, EntityKind.EXTERNAL: 0.4}
"""How attractive as a callee, relative to a stateless service; a database has its owner."""
WORKERS = (1, 1, 1, 2)
"""Services that listen to a queue."""
PRODUCERS = (1, 1, 2, 2, 3, 5)
"""Services that write to a queue."""
DOMAINS = (
    "account", "address", "auth", "basket", "billing", "booking", "campaign", "catalog",
    "comment", "coupon", "currency", "delivery", "document", "email", "feed", "fraud",
    "geo", "identity", "image", "inventory", "invoice", "ledger", "loyalty", "media",
    "menu", "message", "notice", "offer", "order", "partner", "payment", "pricing",
    "profile", "quote", "rating", "refund", "report", "review", "route", "search",
    "seat", "session", "shipping", "stock", "tax", "ticket", "user", "voucher",
)  # fmt: skip
_LEAVES = (EntityKind.DATABASE, EntityKind.CACHE, EntityKind.EXTERNAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One service of the graph."""

    name: str
    kind: EntityKind
    rank: int
    """Its callees have a higher one."""
    worker: bool = False
    """Whether a queue hands it its work."""


@dataclass(slots=True, kw_only=True)
class Graph:
    """What has grown so far."""

    places: list[Place] = field(default_factory=list)
    callees: list[list[int]] = field(default_factory=list)
    """Of each place, in the order in which they were chosen, none twice."""
    names: Counter[str] = field(default_factory=Counter)
    """How often each role and domain has been given away."""

    def add(self, role: str, kind: EntityKind, rank: int, *, worker: bool = False) -> int:
        """A new place without calls."""
        number = self.names[role]
        self.names[role] += 1
        domain, generation = DOMAINS[number % len(DOMAINS)], number // len(DOMAINS)
        suffix = f"-{generation + 1}" if generation else ""
        name = f"{domain}-{role}{suffix}"
        self.places.append(Place(name=name, kind=kind, rank=rank, worker=worker))
        self.callees.append([])
        return len(self.places) - 1

    def connect(self, caller: int, callee: int) -> bool:
        """Let `caller` call `callee`; False where it does already."""
        if callee in self.callees[caller]:
            return False
        self.callees[caller].append(callee)
        return True


def grow(count: int, rng: Random) -> Graph:
    """A graph of `count` places, 4 at least; every place but the gateways has a caller."""
    graph = Graph()
    sizes = _sizes(count)
    gateways = [
        graph.add("gateway", EntityKind.GATEWAY, 0) for _ in range(sizes[EntityKind.GATEWAY])
    ]
    queues = sizes[EntityKind.QUEUE]
    listening = [rng.choice(WORKERS) for _ in range(queues)]
    ranks = _ranks(sizes[EntityKind.SERVICE] - sum(listening), rng)
    services = [graph.add("service", EntityKind.SERVICE, rank) for rank in ranks]
    most = min(MOST_CALLEES, 2 + count // 10)
    wanted = _tails(services, OUT_TAIL, most, rng) | dict.fromkeys(gateways, most)
    _plant(graph, gateways + services, wanted, rng)
    last = ranks[-1]
    workers = _queues(graph, services, listening, rng)
    leaves = _leaves(graph, services + workers, sizes, last + 3, rng)
    wanted |= _tails(workers, OUT_TAIL, most, rng)
    _choose(graph, services + workers, services + leaves, wanted, rng)
    return graph


def _sizes(count: int) -> dict[EntityKind, int]:
    gateways = max(1, round(count / SERVICES_PER_GATEWAY))
    sizes = {kind: round((count - gateways) * share) for kind, share in SHARES.items()}
    sizes[EntityKind.DATABASE] = max(1, sizes[EntityKind.DATABASE])
    sizes[EntityKind.GATEWAY] = gateways
    sizes[EntityKind.SERVICE] = count - sum(sizes.values())
    return sizes


def _ranks(count: int, rng: Random) -> list[int]:
    """Of `count` services, ascending from 1 without a gap."""
    shares = [share for share in RANKS if share * count >= LEAST_OF_RANK] or RANKS[:2]
    drawn = sorted(rng.choices(range(len(shares)), shares, k=count))
    dense = {rank: place for place, rank in enumerate(dict.fromkeys(drawn), start=1)}
    return [dense[rank] for rank in drawn]


def _tails(places: Sequence[int], tail: float, most: float, rng: Random) -> dict[int, float]:
    """For each place a number from 1 on whose distribution ends in a power law."""
    return {place: min(most, rng.paretovariate(tail)) for place in places}


def _plant(graph: Graph, places: Sequence[int], wanted: dict[int, float], rng: Random) -> None:
    """The tree: one caller of the rank above for each; who wants many callees gets more."""
    by_rank: dict[int, list[int]] = {}
    for place in places:
        by_rank.setdefault(graph.places[place].rank, []).append(place)
    for rank in range(1, len(by_rank)):
        above = by_rank[rank - 1]
        weights = list(accumulate(wanted[place] for place in above))
        for place in by_rank[rank]:
            caller = rng.choices(above, cum_weights=weights)[0]
            graph.connect(caller, place)


def _queues(
    graph: Graph, services: Sequence[int], listening: Sequence[int], rng: Random
) -> list[int]:
    """Queues with those who write to them, and the workers that listen to them."""
    workers = []
    for count in listening:
        producers = rng.sample(services, min(len(services), rng.choice(PRODUCERS)))
        rank = 1 + max(graph.places[place].rank for place in producers)
        queue = graph.add("queue", EntityKind.QUEUE, rank)
        for place in producers:
            graph.connect(place, queue)
        for _ in range(count):
            worker = graph.add("worker", EntityKind.SERVICE, rank + 1, worker=True)
            graph.connect(queue, worker)
            workers.append(worker)
    return workers


def _leaves(
    graph: Graph,
    services: Sequence[int],
    sizes: dict[EntityKind, int],
    rank: int,
    rng: Random,
) -> list[int]:
    """Databases, each with an owner of its own as long as there are enough; caches; others."""
    leaves = []
    roles = {EntityKind.DATABASE: "db", EntityKind.CACHE: "cache", EntityKind.EXTERNAL: "api"}
    for kind in _LEAVES:
        owners = rng.sample(services, min(len(services), sizes[kind]))
        for number in range(sizes[kind]):
            leaf = graph.add(roles[kind], kind, rank)
            graph.connect(owners[number % len(owners)], leaf)
            leaves.append(leaf)
    return leaves


def _choose(
    graph: Graph,
    callers: Sequence[int],
    callees: Sequence[int],
    wanted: dict[int, float],
    rng: Random,
) -> None:
    """Further callees for those who want more than they have, the attractive ones first."""
    menu = sorted(callees, key=lambda place: (graph.places[place].rank, place))
    ranks = [graph.places[place].rank for place in menu]
    popular = _tails(menu, IN_TAIL, MOST_POPULAR, rng)
    attraction = [popular[place] * ATTRACTION.get(graph.places[place].kind, 1.0) for place in menu]
    sums = [0.0, *accumulate(attraction)]
    for caller in callers:
        first = bisect_left(ranks, graph.places[caller].rank + 1)
        missing = min(int(wanted[caller]), len(menu) - first) - len(graph.callees[caller])
        for _ in range(4 * max(0, missing)):
            if missing == 0:
                break
            at = bisect_left(sums, rng.uniform(sums[first], sums[-1]))
            missing -= graph.connect(caller, menu[max(at - 1, first)])
