"""Where notifications may go: the policy for outgoing HTTP, shared by all notifiers.

A URL in a configuration must not turn DOS into a way to reach what only DOS can reach (cloud
metadata on 169.254.169.254, services on loopback, the inside of a network). So the host is
resolved here, every address is judged, and the connection goes to the address that was judged:
a name that resolves differently a moment later (DNS rebinding) changes nothing. Redirects are
not followed, and proxies of the environment are not used.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

import httpx2

from dos.kit.clock import SECOND, Millis
from dos.kit.errors import ConfigError, PermanentError, TransientError

Address = IPv4Address | IPv6Address

_WRAPPING = tuple(ip_network(text) for text in ("::ffff:0:0/96", "64:ff9b::/96", "::/96"))
_ANSWER_SHOWN = 200
_RETRIED = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the other side said."""

    status: int
    retry_after: str | None
    text: str
    """The beginning of the body: as much of it as the caller asked for."""


def refusal(
    answer: Answer, message: str, *, remedy: str, now: Millis
) -> TransientError | PermanentError:
    """The error for an answer that is not success.

    Args:
        answer: The answer.
        message: What was answered, and by whom.
        remedy: What to do where repeating it cannot help.
        now: The time, for a `Retry-After` that is a date.

    Returns:
        A `TransientError` for 408, 425, 429 and 5xx, else a `PermanentError`.
    """
    if answer.status in _RETRIED or answer.status >= 500:
        return TransientError(message, retry_after=_retry_after(answer, now))
    return PermanentError(message, remedy=remedy)


def _retry_after(answer: Answer, now: Millis) -> float | None:
    """Seconds to wait (RFC 9110, 10.2.3: a number of seconds or a date)."""
    text = (answer.retry_after or "").strip()
    if text.isdecimal():
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return max(0.0, at.timestamp() - now / SECOND)


class OutgoingPolicy:
    """Which hosts may be reached.

    Public addresses always may. Others only when allowed: a host name allows whatever it
    resolves to, an address or a network (`10.0.0.0/8`) allows itself.

    Args:
        allow_hosts: Names, addresses and networks.

    Raises:
        ConfigError: An entry is empty or a URL.
    """

    def __init__(self, allow_hosts: Iterable[str] = ()) -> None:
        self._names: set[str] = set()
        self._networks: list[IPv4Network | IPv6Network] = []
        for entry in allow_hosts:
            try:
                self._networks.append(ip_network(entry, strict=False))
            except ValueError:
                if not entry or "/" in entry:
                    msg = f"allow_hosts: {entry!r} is neither a host name, an address nor a network"
                    raise ConfigError(
                        msg + ".", remedy="Write for example hooks.internal, 127.0.0.1, 10.0.0.0/8."
                    ) from None
                self._names.add(entry.lower().rstrip("."))

    def permits(self, host: str, address: Address) -> bool:
        """Whether `host`, which resolved to `address`, may be reached."""
        if host.lower().rstrip(".") in self._names:
            return True
        plain = _unwrapped(address)
        if any(plain in network for network in self._networks):
            return True
        site_local = isinstance(plain, IPv6Address) and plain.is_site_local
        return plain.is_global and not plain.is_multicast and not site_local

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        """The addresses to connect to, in the order to try them; at least one.

        Raises:
            TransientError: The name does not resolve now.
            PermanentError: It resolves to an address that is not allowed.
        """
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            msg = f"{host} cannot be resolved: {error}."
            raise TransientError(msg) from error
        addresses = [ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
        refused = [one for one in addresses if not self.permits(host, one)]
        if refused or not addresses:
            # One bad address among good ones is refused too: it is how rebinding starts.
            msg = f"{host} is {refused[0] if refused else 'nowhere'}, which is not a public address"
            raise PermanentError(
                msg + ".",
                remedy=f"If it is meant to be reached, add it: allow_hosts: [{host!r}].",
            )
        return list(dict.fromkeys(addresses))


def _unwrapped(address: Address) -> Address:
    """The IPv4 address that an IPv6 address leads to, if it does, else `address` itself.

    IPv4-mapped and -compatible (RFC 4291, 2.5.5), 6to4 (RFC 3056) and NAT64 (RFC 6052).
    """
    if isinstance(address, IPv4Address):
        return address
    if address.sixtofour:
        return address.sixtofour
    if any(address in network for network in _WRAPPING) and int(address) > 1:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


class OutgoingClient:
    """Posts to URLs that the policy permits, on connections that are kept open.

    Args:
        policy: What may be reached.
        timeout: Seconds for each of connect, write and read.
    """

    def __init__(self, policy: OutgoingPolicy, *, timeout: float) -> None:
        self._policy = policy
        self._client = httpx2.AsyncClient(timeout=timeout, follow_redirects=False, trust_env=False)

    async def post(
        self, url: str, content: bytes, headers: Mapping[str, str], *, most: int = _ANSWER_SHOWN
    ) -> Answer:
        """Send `content`.

        Args:
            url: Where to.
            content: The body of the request.
            headers: Of the request, beside `Host`.
            most: Bytes of the answer's body that are read; without it a few, for error messages.
                It is not unpacked: who wants more asks for `Accept-Encoding: identity`.

        Raises:
            TransientError: No answer: unreachable, timed out, hung up, or no valid certificate.
            PermanentError: The address is not allowed.
        """
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        addresses = await self._policy.resolve(host, port)
        # Of the answer only the beginning is read, which packed would say nothing.
        fixed = {"Host": parts.netloc.rpartition("@")[2], "Accept-Encoding": "identity"}
        sent_headers = {**headers, **fixed}
        for left, address in enumerate(addresses, start=1 - len(addresses)):
            pinned = httpx2.URL(url).copy_with(host=str(address))
            request = self._client.build_request(
                "POST",
                pinned,
                content=content,
                headers=sent_headers,
                extensions={"sni_hostname": host},
            )
            try:
                return await self._answer(request, most)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                if left == 0:
                    msg = f"{host}:{port} failed: {str(error) or 'no connection in time'}."
                    raise TransientError(msg) from error
            except httpx2.TimeoutException as error:
                msg = f"{host}:{port} did not answer in time ({type(error).__name__})."
                raise TransientError(msg) from error
            except httpx2.HTTPError as error:
                msg = f"{host}:{port} failed: {str(error).rstrip('.') or type(error).__name__}."
                raise TransientError(msg) from error
        raise AssertionError  # resolve gives at least one address, and the last one raises

    async def _answer(self, request: httpx2.Request, most: int) -> Answer:
        response = await self._client.send(request, stream=True)
        try:
            return Answer(
                status=response.status_code,
                retry_after=response.headers.get("Retry-After"),
                text=await _beginning(response, most),
            )
        finally:
            await response.aclose()

    async def close(self) -> None:
        """Close the connections; idempotent."""
        await self._client.aclose()


async def _beginning(response: httpx2.Response, most: int) -> str:
    """The first bytes of the body; the rest is not read, however long it is."""
    head = bytearray()
    async for chunk in response.aiter_raw():
        head += chunk
        if len(head) >= most:
            break
    return head[:most].decode("utf-8", "replace")
