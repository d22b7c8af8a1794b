"""A world shaped like Online Boutique, the demonstration shop of Google Cloud.

Services, calls and the mix of pages are those of its sources (github.com/GoogleCloudPlatform/
microservices-demo, Apache 2.0): `loadgenerator/locustfile.py` says how often each page is asked
for, the handlers of `frontend` and `checkoutservice` which calls a page costs. Times, replicas and
loads are ours; so are the two autoscalers, which the original leaves to whoever deploys it.

Its calls are gRPC without deadlines, retries and breakers, except that `frontend` waits 100 ms for
an advertisement: what is slow below is slow above, and what fails below fails above, unless the
code ignores it (advertisements, recommendations, the e-mail).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dos.model.entity import EntityKind
from dos.model.graph import EdgeKind
from dos.model.ids import EntityId
from dos.simulate.world import Autoscaler, Call, SimulatedService, World
from dos.simulate.worlds.edges import call

NO_DEADLINE = 15.0
"""Seconds until a user's browser gives up, where the software itself would wait for ever."""
PRODUCTS, RECOMMENDED, IN_CART, ORDERED = 9, 5, 2, 3
"""In the catalogue, recommended on a page, in a cart that is looked at, in one that is bought."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    """A page of the shop."""

    visits: int
    """Requests among those that the tasks of the load generator make, each with its weight."""
    calls: Mapping[str, int]
    """Calls that one request costs `frontend`."""


# Weights of its tasks: index 1, setCurrency 2, browseProduct 10, addToCart 2, viewCart 3,
# checkout 1. A checkout adds to the cart first; adding to it looks at the product first and is
# redirected to the cart; setting the currency is redirected to the home page.
_PAGES = {
    "home": _Page(
        visits=1 + 2,
        calls={
            "currencyservice": 1 + PRODUCTS,
            "productcatalogservice": 1,
            "cartservice": 1,
            "adservice": 1,
        },
    ),
    "set currency": _Page(visits=2, calls={}),
    "product": _Page(
        visits=10 + 2 + 1,
        calls={
            "productcatalogservice": 1 + RECOMMENDED,
            "currencyservice": 2,
            "cartservice": 1,
            "recommendationservice": 1,
            "adservice": 1,
        },
    ),
    "add to cart": _Page(visits=2 + 1, calls={"productcatalogservice": 1, "cartservice": 1}),
    "cart": _Page(
        visits=3 + 2 + 1,
        calls={
            "currencyservice": 2 + IN_CART,
            "cartservice": 1,
            "recommendationservice": 1,
            "productcatalogservice": RECOMMENDED + IN_CART,
            "shippingservice": 1,
        },
    ),
    "place order": _Page(
        visits=1,
        calls={
            "checkoutservice": 1,
            "recommendationservice": 1,
            "productcatalogservice": RECOMMENDED,
            "currencyservice": 1,
        },
    ),
}
_ORDER = {
    "cartservice": 2,
    "productcatalogservice": ORDERED,
    "currencyservice": ORDERED + 1,
    "shippingservice": 2,
    "paymentservice": 1,
    "emailservice": 1,
}
"""Calls that one order costs `checkoutservice`."""
_IGNORED = {"adservice", "recommendationservice", "emailservice"}
"""Whose failure is logged and forgotten."""
_QUIET = 0.0001
"""Errors of a good day: there is nothing in these services that would fail by itself."""


def _go(name: str, *, cpu: float, time: float, replicas: int = 2) -> SimulatedService:
    """A service in Go: small, and with short pauses."""
    return SimulatedService(
        name=name,
        replicas=replicas,
        cpu=cpu,
        service_time=time,
        dispersion=0.6,
        memory=0.3,
        error_rate=_QUIET,
        version="0.10.2",
    )


def _managed(
    name: str, *, cpu: float, time: float, memory: float, scales: Autoscaler | None = None
) -> SimulatedService:
    """A service in Java, C#, Python or JavaScript: a heap that is larger, times that vary more."""
    return SimulatedService(
        name=name,
        cpu=cpu,
        service_time=time,
        dispersion=0.9,
        memory=memory,
        error_rate=_QUIET,
        version="0.10.2",
        autoscale=scales,
    )


def _services() -> tuple[SimulatedService, ...]:
    return (
        SimulatedService(
            name="frontend",
            replicas=4,
            cpu=0.5,
            service_time=0.009,
            dispersion=0.6,
            memory=0.35,
            error_rate=0.0004,
            version="0.10.2",
            autoscale=Autoscaler(at_least=4, at_most=12, target=0.6),
        ),
        _go("productcatalogservice", cpu=0.38, time=0.0015, replicas=3),
        _managed(
            "currencyservice",
            cpu=0.45,
            time=0.001,
            memory=0.4,
            scales=Autoscaler(at_least=2, at_most=8, target=0.55),
        ),
        _managed("cartservice", cpu=0.3, time=0.003, memory=0.45),
        _managed("recommendationservice", cpu=0.4, time=0.007, memory=0.5),
        _managed("adservice", cpu=0.3, time=0.004, memory=0.6),
        _go("shippingservice", cpu=0.25, time=0.002),
        _go("checkoutservice", cpu=0.25, time=0.012),
        _managed("paymentservice", cpu=0.25, time=0.006, memory=0.4),
        _managed("emailservice", cpu=0.3, time=0.015, memory=0.45),
        SimulatedService(
            name="redis-cart",
            kind=EntityKind.CACHE,
            replicas=1,
            cpu=0.2,
            service_time=0.0005,
            memory=0.5,
            error_rate=_QUIET,
            version="7.2.4",
        ),
    )


def _calls() -> tuple[Call, ...]:
    requests = sum(page.visits for page in _PAGES.values())
    per_request: dict[str, float] = {}
    for page in _PAGES.values():
        for callee, times in page.calls.items():
            per_request[callee] = per_request.get(callee, 0.0) + times * page.visits / requests
    calls = [_bare("frontend", callee, times) for callee, times in sorted(per_request.items())]
    calls += [_bare("checkoutservice", callee, times) for callee, times in sorted(_ORDER.items())]
    calls.append(_bare("recommendationservice", "productcatalogservice", 1.0))
    # Reading or emptying a cart is one operation, adding to it two.
    carts = sum(page.visits * page.calls.get("cartservice", 0) for page in _PAGES.values())
    carts += _PAGES["place order"].visits * _ORDER["cartservice"]
    operations = 1.0 + _PAGES["add to cart"].visits / carts
    return (*calls, _bare("cartservice", "redis-cart", operations, kind=EdgeKind.READ))


def _bare(caller: str, callee: str, per_request: float, *, kind: EdgeKind = EdgeKind.CALL) -> Call:
    return call(
        caller,
        callee,
        per_request,
        kind=kind,
        timeout=0.1 if callee == "adservice" else NO_DEADLINE,
        retries=0,
        criticality=0.0 if callee in _IGNORED else 1.0,
        breaker=False,
    )


def online_boutique() -> World:
    """Ten services and a Redis: `frontend` asks nearly everybody, `checkoutservice` six."""
    return World(
        name="online-boutique",
        services=_services(),
        calls=_calls(),
        entries={EntityId("frontend"): 120.0},
    )
