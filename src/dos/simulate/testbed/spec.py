"""What the testbed consists of: services, what each does, and who calls whom. The one place.

A shop in small. Requests enter at the gateway; a purchase touches every service. `tasks` says
what each `Task` really does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from dos.kit.errors import ConfigError

MEBIBYTE = 1 << 20
REDIS = "redis"
"""Name of the Redis that the cart keeps its state in, where there is one."""


class Task(StrEnum):
    """The work an operation does itself, besides calling others."""

    FORWARD = "forward"
    """Nothing but the calls."""
    RENDER = "render"
    """Makes a page of what the calls brought."""
    LIST = "list"
    """Sorts and filters the articles."""
    CART_READ = "cart_read"
    CART_ADD = "cart_add"
    CART_TAKE = "cart_take"
    STOCK_READ = "stock_read"
    STOCK_RESERVE = "stock_reserve"
    SIGN = "sign"
    """Derives a key, as who signs a payment does: CPU time."""
    ENQUEUE = "enqueue"
    """Takes a message in, to be worked on later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call from an operation to another service."""

    callee: str
    operation: str
    awaited: bool = True
    """False: fire and forget, as a message is sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One thing a service can be asked for."""

    name: str
    task: Task
    writes: bool = False
    """Asked for with POST rather than GET."""
    calls: tuple[tuple[Call, ...], ...] = ()
    """Stages one after the other; the calls of one stage at the same time."""

    @property
    def method(self) -> str:
        """Of HTTP."""
        return "POST" if self.writes else "GET"

    @property
    def route(self) -> str:
        """Path of the operation."""
        return f"/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """One service."""

    name: str
    operations: tuple[Operation, ...]
    uses_redis: bool = False
    volume: int | None = None
    """Bytes its SQLite file may take; None for a service without one."""

    def operation(self, name: str) -> Operation:
        """The operation `name`.

        Raises:
            ConfigError: There is none.
        """
        found = next((one for one in self.operations if one.name == name), None)
        if found is None:
            msg = f"{self.name} has no operation {name!r}."
            raise ConfigError(msg)
        return found

    @property
    def callees(self) -> tuple[str, ...]:
        """Services it calls, in order of first mention."""
        calls = (call for op in self.operations for stage in op.calls for call in stage)
        return tuple(dict.fromkeys(call.callee for call in calls))


@dataclass(frozen=True, slots=True, kw_only=True)
class Journey:
    """One kind of request from outside."""

    operation: str
    """Of the gateway."""
    share: float
    """Of all requests, 0 to 1."""


GATEWAY = "gateway"
SHOP: tuple[ServiceSpec, ...] = (
    ServiceSpec(
        name=GATEWAY,
        operations=tuple(
            Operation(
                name=name,
                task=Task.FORWARD,
                writes=name != "browse",
                calls=((Call(callee="frontend", operation=name),),),
            )
            for name in ("browse", "add", "buy")
        ),
    ),
    ServiceSpec(
        name="frontend",
        operations=(
            Operation(
                name="browse",
                task=Task.RENDER,
                calls=(
                    (
                        Call(callee="catalog", operation="articles"),
                        Call(callee="cart", operation="view"),
                    ),
                ),
            ),
            Operation(
                name="add",
                task=Task.RENDER,
                writes=True,
                calls=(
                    (Call(callee="catalog", operation="article"),),
                    (Call(callee="cart", operation="add"),),
                ),
            ),
            Operation(
                name="buy",
                task=Task.RENDER,
                writes=True,
                calls=((Call(callee="checkout", operation="order"),),),
            ),
        ),
    ),
    ServiceSpec(
        name="catalog",
        operations=(
            Operation(
                name="articles",
                task=Task.LIST,
                calls=((Call(callee="inventory", operation="stock"),),),
            ),
            Operation(name="article", task=Task.LIST),
        ),
    ),
    ServiceSpec(
        name="cart",
        uses_redis=True,
        operations=(
            Operation(name="view", task=Task.CART_READ),
            Operation(name="add", task=Task.CART_ADD, writes=True),
            Operation(name="take", task=Task.CART_TAKE, writes=True),
        ),
    ),
    ServiceSpec(
        name="checkout",
        operations=(
            Operation(
                name="order",
                task=Task.FORWARD,
                writes=True,
                calls=(
                    (Call(callee="cart", operation="take"),),
                    (Call(callee="inventory", operation="reserve"),),
                    (Call(callee="payment", operation="charge"),),
                    (Call(callee="notification", operation="send", awaited=False),),
                ),
            ),
        ),
    ),
    ServiceSpec(
        name="payment", operations=(Operation(name="charge", task=Task.SIGN, writes=True),)
    ),
    ServiceSpec(
        name="inventory",
        volume=16 * MEBIBYTE,
        operations=(
            Operation(name="stock", task=Task.STOCK_READ),
            Operation(name="reserve", task=Task.STOCK_RESERVE, writes=True),
        ),
    ),
    ServiceSpec(
        name="notification", operations=(Operation(name="send", task=Task.ENQUEUE, writes=True),)
    ),
)
JOURNEYS: tuple[Journey, ...] = (
    Journey(operation="browse", share=0.5),
    Journey(operation="add", share=0.25),
    Journey(operation="buy", share=0.25),
)


def service(name: str) -> ServiceSpec:
    """The service `name`.

    Raises:
        ConfigError: There is none; names those there are.
    """
    found = next((one for one in SHOP if one.name == name), None)
    if found is None:
        msg = f"The testbed has no service {name!r}."
        raise ConfigError(msg, remedy=f"Use one of: {', '.join(one.name for one in SHOP)}.")
    return found


def edges(shop: Sequence[ServiceSpec] = SHOP) -> frozenset[tuple[str, str]]:
    """Who calls whom, Redis included."""
    found = {(one.name, callee) for one in shop for callee in one.callees}
    return frozenset(found | {(one.name, REDIS) for one in shop if one.uses_redis})


def dependents(name: str, shop: Sequence[ServiceSpec] = SHOP) -> tuple[str, ...]:
    """Everyone who may feel it when `name` is in trouble: its callers, theirs and so on."""
    known = edges(shop)
    reached, queue = [], [name]
    while queue:
        here = queue.pop(0)
        for caller in sorted(one for one, callee in known if callee == here):
            if caller not in reached:
                reached.append(caller)
                queue.append(caller)
    return tuple(reached)
