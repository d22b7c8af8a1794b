"""Who may change state: for now one static token, or nobody but this machine."""

from __future__ import annotations

import hmac
import ipaddress
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from dos.api.access import BackendDep
from dos.api.errors import ProblemError
from dos.kit.secret import Secret

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="writeToken",
    description="Needed for requests that change state once `server.token` is configured.",
)


def require_writer(
    request: Request,
    backend: BackendDep,
    _: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> None:
    """Let a request pass that may change state; see `refuse_writer`."""
    refuse_writer(request, backend.write_token)


def refuse_writer(request: Request, token: Secret | None) -> None:
    """Refuse a request that may not change state.

    With a token configured the request must carry it. Without one only connections that never
    leave this machine may write: an open port must not take in anonymous data.

    Raises:
        ProblemError: 401 without the right token, 403 from beyond loopback without a token.
    """
    if token is None:
        if not _is_local(request):
            detail = (
                "Anonymous writes are taken from this machine only. "
                "Configure server.token to let others write."
            )
            raise ProblemError(403, "anonymous-write", detail)
        return
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    sent = given.strip().encode() if scheme.lower() == "bearer" else b""
    if not hmac.compare_digest(sent, token.reveal().encode()):
        detail = "Send `Authorization: Bearer …` with the configured server.token."
        raise ProblemError(401, "token-needed", detail, headers={"WWW-Authenticate": "Bearer"})


def _is_local(request: Request) -> bool:
    """Whether both ends of the connection are on loopback, or it is a Unix socket.

    Both, because behind a proxy on this machine the server's end is loopback for everybody,
    while the client's is what the proxy forwarded.
    """
    server = request.scope.get("server")
    if server is None or server[1] is None:
        return server is not None
    return request.client is not None and all(
        _is_loopback(host) for host in (server[0], request.client.host)
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


Writer = Depends(require_writer)
