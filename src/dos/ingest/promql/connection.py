"""How to reach a Prometheus HTTP API: address, credentials, TLS, limits.

The words are those of Prometheus' own configuration. Credentials in files are read anew for
every request, because Kubernetes and Vault rotate them in place.
"""

from __future__ import annotations

import ssl
from collections.abc import Generator
from pathlib import Path
from typing import Annotated, Self

import httpx2
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from dos.kit.duration import Duration
from dos.kit.errors import ConfigError, PermanentError
from dos.kit.secret import Secret


class BasicAuth(BaseModel):
    """User name and password."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    username: str = Field(min_length=1)
    password: Secret | None = None
    password_file: Path | None = Field(default=None, description="Read anew at every request.")

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        _exactly_one(self.password, self.password_file, "password or password_file")
        return self


class Authorization(BaseModel):
    """The `Authorization` header: a bearer token, as a rule."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: str = "Bearer"
    credentials: Secret | None = None
    credentials_file: Path | None = Field(default=None, description="Read anew at every request.")

    @model_validator(mode="after")
    def _one_token(self) -> Self:
        _exactly_one(self.credentials, self.credentials_file, "credentials or credentials_file")
        return self


class TlsConfig(BaseModel):
    """How https is checked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ca_file: Path | None = Field(default=None, description="Trust this CA instead of the system's.")
    cert_file: Path | None = Field(default=None, description="Client certificate (PEM).")
    key_file: Path | None = Field(default=None, description="Key of the client certificate (PEM).")
    insecure_skip_verify: bool = Field(default=False, description="Accept any certificate.")


def _plain_url(url: str) -> str:
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        msg = f"{error}; write for example http://prometheus:9090"
        raise ValueError(msg) from error
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        msg = "write a URL with http:// or https://, for example http://prometheus:9090"
        raise ValueError(msg)
    if parsed.userinfo:
        msg = "has a user name or password in it; put them under basic_auth"
        raise ValueError(msg)
    if parsed.query or parsed.fragment:
        msg = "ends in a query or fragment; write only scheme, host, port and path prefix"
        raise ValueError(msg)
    return url.rstrip("/").removesuffix("/api/v1")


class Connection(BaseModel):
    """How to reach a server; the words are those of Prometheus' own configuration."""

    # A url may hold a password; what is wrong with it can be said without showing it.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: Annotated[str, AfterValidator(_plain_url)] = Field(
        description="Base URL, with the path prefix if there is one (Mimir: /prometheus)."
    )
    basic_auth: BasicAuth | None = None
    authorization: Authorization | None = None
    tenant: str | None = Field(default=None, description="Sent as X-Scope-OrgID (Mimir, Cortex).")
    headers: dict[str, Secret] = Field(default_factory=dict, description="Further headers.")
    tls_config: TlsConfig = TlsConfig()
    proxy_url: str | None = Field(default=None, description="The environment's proxy is not used.")
    timeout: Duration = Field(default=10.0, gt=0, description="For one request.")
    concurrency: int = Field(default=4, ge=1, le=64, description="Requests at the same time.")

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if self.basic_auth and self.authorization:
            msg = "give basic_auth or authorization, not both"
            raise ValueError(msg)
        return self

    def client(self) -> httpx2.AsyncClient:
        """A new HTTP client with these settings.

        Raises:
            ConfigError: A certificate file cannot be read.
        """
        headers = {name: value.reveal() for name, value in self.headers.items()}
        if self.tenant is not None:
            headers["X-Scope-OrgID"] = self.tenant
        return httpx2.AsyncClient(
            auth=_Credentials(self),
            headers=headers,
            verify=_trust(self.tls_config) if self.url.startswith("https:") else True,
            proxy=self.proxy_url,
            timeout=self.timeout,
            limits=httpx2.Limits(max_connections=self.concurrency),
            trust_env=False,
        )


class _Credentials(httpx2.Auth):
    """Puts the credentials of the moment into each request."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def auth_flow(
        self, request: httpx2.Request
    ) -> Generator[httpx2.Request, httpx2.Response, None]:
        basic, bearer = self._connection.basic_auth, self._connection.authorization
        if basic is not None:
            password = _read(basic.password, basic.password_file)
            yield from httpx2.BasicAuth(basic.username, password).auth_flow(request)
            return
        if bearer is not None:
            token = _read(bearer.credentials, bearer.credentials_file)
            request.headers["Authorization"] = f"{bearer.type} {token}"
        yield request


def _read(secret: Secret | None, file: Path | None) -> str:
    if file is None:
        return "" if secret is None else secret.reveal()
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        msg = f"Cannot read the credentials in {file}: {error.strerror}."
        raise PermanentError(msg, remedy="Check the path and its permissions.") from error


def _trust(tls: TlsConfig) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        if tls.cert_file is not None:
            context.load_cert_chain(tls.cert_file, tls.key_file)
    except OSError as error:  # ssl.SSLError is one too
        msg = f"tls_config: cannot load {tls.ca_file or ''} {tls.cert_file or ''}: {error}."
        raise ConfigError(msg, remedy="Name readable PEM files.") from error
    if tls.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _exactly_one(first: object, second: object, names: str) -> None:
    if (first is None) == (second is None):
        msg = f"give either {names}"
        raise ValueError(msg)
