"""The declaration of the shop makes sense as a whole."""

from __future__ import annotations

from graphlib import TopologicalSorter

import pytest

from dos.kit.errors import ConfigError
from dos.simulate.testbed.spec import (
    GATEWAY,
    JOURNEYS,
    REDIS,
    SHOP,
    Task,
    dependents,
    edges,
    service,
)


def test_every_call_reaches_an_operation() -> None:
    names = [one.name for one in SHOP]
    assert len(names) == len(set(names)) == 8
    for one in SHOP:
        for operation in one.operations:
            for call in (call for stage in operation.calls for call in stage):
                assert service(call.callee).operation(call.operation).route == f"/{call.operation}"


def test_nobody_calls_himself_over_others() -> None:
    graph: dict[str, set[str]] = {}
    for caller, callee in edges():
        graph.setdefault(caller, set()).add(callee)
    order = list(TopologicalSorter(graph).static_order())  # raises on a cycle
    assert order[-1] == GATEWAY
    assert set(order) == {one.name for one in SHOP} | {REDIS}


def test_every_service_is_reached_from_outside() -> None:
    assert sum(journey.share for journey in JOURNEYS) == pytest.approx(1.0)
    for journey in JOURNEYS:
        service(GATEWAY).operation(journey.operation)
    for one in SHOP:
        assert one.name == GATEWAY or GATEWAY in dependents(one.name)


def test_dependents_are_callers_and_theirs() -> None:
    assert dependents(GATEWAY) == ()
    assert dependents("payment") == ("checkout", "frontend", GATEWAY)
    assert set(dependents(REDIS)) == {"cart", "checkout", "frontend", GATEWAY}


def test_tasks_that_need_something_have_it() -> None:
    for one in SHOP:
        tasks = {operation.task for operation in one.operations}
        assert one.uses_redis == bool(tasks & {Task.CART_READ, Task.CART_ADD, Task.CART_TAKE})
        assert (one.volume is not None) == bool(tasks & {Task.STOCK_READ, Task.STOCK_RESERVE})


def test_unknown_names_are_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no service 'paymnt'. Use one of: gateway, frontend"):
        service("paymnt")
    with pytest.raises(ConfigError, match="cart has no operation 'buy'"):
        service("cart").operation("buy")
