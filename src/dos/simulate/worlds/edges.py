"""How the worlds write down that one service uses another."""

from __future__ import annotations

from dos.model.graph import EdgeKind
from dos.model.ids import EntityId
from dos.simulate.world import Call


def call(
    caller: str,
    callee: str,
    per_request: float = 1.0,
    *,
    kind: EdgeKind = EdgeKind.CALL,
    timeout: float = 1.0,
    retries: int = 1,
    criticality: float = 1.0,
    breaker: bool = True,
) -> Call:
    """A `Call` between services without a namespace; see its fields."""
    return Call(
        caller=EntityId(caller),
        callee=EntityId(callee),
        per_request=per_request,
        kind=kind,
        timeout=timeout,
        retries=retries,
        criticality=criticality,
        breaker=breaker,
    )
