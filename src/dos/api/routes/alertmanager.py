"""Alertmanager's API version 2: Prometheus posts its alerts here, and `amtool` works with it.

Errors are plain sentences, as there, and not the problem documents of the rest of the API: that is
what its clients read.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException

from dos.alerting.desk import Seen
from dos.api.access import BackendDep
from dos.api.alertmanager_schema import (
    AlertGroup,
    AlertmanagerStatus,
    AlertStatus,
    ConfigText,
    Empty,
    GettableAlert,
    GettableSilence,
    PostableAlert,
    PostableSilence,
    ReceiverModel,
    SilenceId,
    VersionInfo,
)
from dos.api.auth import Writer
from dos.api.backend import Backend
from dos.api.errors import problems
from dos.ingest.base import Delivery
from dos.kit.clock import to_rfc3339
from dos.model.matchers import Matcher, Matchers, Operator, all_match, parse_matcher
from dos.model.silence import Silence, SilenceState

_FULL = "The pipeline has no room now; nothing was taken. Send it again later."
_OPEN: dict[str, Any] = {"security": [{}]}  # beside the token: none configured, none needed
_Answers = dict[int | str, dict[str, Any]]
_WRONG: _Answers = {400: {"description": "What is wrong: a sentence.", "model": str}}
_GONE: _Answers = {404: {"description": "There is no such silence: a sentence.", "model": str}}
_BUSY: _Answers = {503: {"description": "No room now; send it again later.", "model": str}}
_LOOKS, _LOOK_AGAIN = 100, 0.02
"""How often, and after how many seconds, is looked whether a silence was taken in."""
_ORDER = {SilenceState.ACTIVE: 0, SilenceState.PENDING: 1, SilenceState.EXPIRED: 2}

Filter = Annotated[
    list[str] | None,
    Query(description='Matchers that have to hold, such as `severity="page"`.', max_length=50),
]


class AlertQuery(BaseModel):
    """Which alerts are asked for."""

    active: bool = Field(default=True, description="Those that somebody hears of.")
    silenced: bool = Field(default=True, description="Those that a silence keeps quiet.")
    inhibited: bool = Field(default=True, description="Those that another alert keeps quiet.")
    unprocessed: bool = Field(
        default=True, description="There are none: what is taken in is processed at once."
    )
    filter: list[str] = Field(
        default_factory=list,
        max_length=50,
        description='Matchers that have to hold, such as `severity="page"`.',
    )
    receiver: str | None = Field(
        default=None, max_length=4096, description="Regular expression of a receiver's whole name."
    )

    def wants(self, one: Seen) -> bool:
        """Whether an alert in this state is asked for."""
        quiet = bool(one.silenced_by or one.inhibited_by)
        return (
            (self.active or quiet)
            and (self.silenced or not one.silenced_by)
            and (self.inhibited or not one.inhibited_by)
        )


class _RefusedError(Exception):
    """Ends a request with a sentence.

    Args:
        code: HTTP status.
        said: The sentence, or an error that says it.
    """

    def __init__(self, code: int, said: str | ValueError) -> None:
        self.code = code
        self.said = said if isinstance(said, str) else _said(said)
        super().__init__(self.said)


class _Route(APIRoute):
    """Refuses as Alertmanager does."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def refuse_in_words(request: Request) -> Response:
            try:
                return await handle(request)
            except HTTPException as error:
                if error.status_code != 400:
                    raise
                return JSONResponse(error.detail, status_code=400)  # no UTF-8, for example
            except RequestValidationError as error:
                first = error.errors()[0]
                where = ".".join(str(part) for part in first["loc"])
                return JSONResponse(f"{where}: {first['msg']}", status_code=400)
            except _RefusedError as error:
                headers = {"Retry-After": "5"} if error.code == 503 else None
                return JSONResponse(error.said, status_code=error.code, headers=headers)

        return refuse_in_words


router = APIRouter(prefix="/api/v2", tags=["alertmanager"], route_class=_Route)


@router.get("/status", operation_id="getAlertmanagerStatus", summary="Who answers")
async def status(backend: BackendDep) -> AlertmanagerStatus:
    """Version, and the routes as a configuration of Alertmanager (without channels)."""
    return AlertmanagerStatus(
        version_info=VersionInfo(version=f"dos-{backend.version}"),
        config=ConfigText(original=backend.desk.routing.text),
        uptime=to_rfc3339(backend.started_at),
    )


@router.get("/receivers", operation_id="getAlertmanagerReceivers", summary="Receivers")
async def receivers(backend: BackendDep) -> list[ReceiverModel]:
    """Those that routes lead to, and those that are configured."""
    routing = backend.desk.routing
    names = {*routing.least, *(route.receiver for route in routing.tree.walk())}
    return [ReceiverModel(name=name) for name in sorted(names)]


@router.get(
    "/alerts",
    operation_id="getAlertmanagerAlerts",
    summary="Alerts that fire",
    responses={**_WRONG, **problems(422)},
)
async def alerts(backend: BackendDep, asked: Annotated[AlertQuery, Query()]) -> list[GettableAlert]:
    """Posted ones, and those of DOS itself about incidents and forecasts."""
    matchers, receiver = _matchers(asked.filter), _receiver(asked.receiver)
    found = _chosen(backend.desk.alerts(), matchers, receiver)
    return [_shown(one) for one in found if asked.wants(one)]


@router.get(
    "/alerts/groups",
    operation_id="getAlertmanagerGroups",
    summary="Alerts that fire, by group",
    responses={**_WRONG, **problems(422)},
)
async def groups(backend: BackendDep, asked: Annotated[AlertQuery, Query()]) -> list[AlertGroup]:
    """As they are told together."""
    matchers, receiver = _matchers(asked.filter), _receiver(asked.receiver)
    found = []
    for name, labels, members in backend.desk.groups():
        chosen = [one for one in _chosen(members, matchers, None) if asked.wants(one)]
        if chosen and _is(name, receiver):
            found.append(
                AlertGroup(
                    alerts=tuple(_shown(one) for one in chosen),
                    labels=dict(labels),
                    receiver=ReceiverModel(name=name),
                )
            )
    return found


@router.post(
    "/alerts",
    operation_id="postAlertmanagerAlerts",
    summary="Raise and end alerts",
    dependencies=[Writer],
    openapi_extra=_OPEN,
    responses={**_WRONG, **_BUSY, **problems(401, 403, 413, 415, 422)},
)
async def post_alerts(backend: BackendDep, posted: list[dict[str, object]]) -> Empty:
    """As Prometheus sends them. Those that are wrong are refused by themselves."""
    now, wrong = backend.clock.now(), []
    taken = []
    for number, one in enumerate(posted):
        try:
            taken.append(PostableAlert.model_validate(one).taken(now))
        except (ValidationError, ValueError) as error:
            wrong.append(f"alert {number}: {_said(error)}")
    if taken and not await backend.submit(Delivery(alerts=tuple(taken))):
        raise _RefusedError(503, _FULL)
    if wrong:
        raise _RefusedError(400, "; ".join(wrong[:20]))
    return Empty()


@router.get(
    "/silences",
    operation_id="getAlertmanagerSilences",
    summary="Silences",
    responses={**_WRONG, **problems(422)},
)
async def silences(
    backend: BackendDep,
    filter: Filter = None,  # noqa: A002  the name that Alertmanager has
) -> list[GettableSilence]:
    """Those that hold first; within each state by when they end."""
    matchers = _matchers(filter)
    now = backend.clock.now()
    found = [one for one in backend.desk.silences() if _is_about(one, matchers)]
    found.sort(key=lambda one: (_ORDER[one.state(now)], one.ends_at, one.id))
    return [GettableSilence.of(one, now) for one in found]


@router.post(
    "/silences",
    operation_id="postAlertmanagerSilence",
    summary="Silence alerts, or change a silence",
    dependencies=[Writer],
    openapi_extra=_OPEN,
    responses={**_WRONG, **_GONE, **_BUSY, **problems(401, 403, 413, 415, 422)},
)
async def post_silence(backend: BackendDep, wanted: dict[str, object]) -> SilenceId:
    """It holds from the pipeline's next step on, as a rule before this is answered."""
    try:
        asked = PostableSilence.model_validate(wanted).taken(backend.clock.now())
        planned = backend.desk.plan_silence(asked)
    except KeyError:
        raise _RefusedError(404, f"There is no silence {wanted.get('id')}.") from None
    except (ValidationError, ValueError) as error:
        raise _RefusedError(400, error) from error
    await _hand_over(backend, planned)
    return SilenceId(silence_id=planned[-1].id)


@router.get(
    "/silence/{silence_id}",
    operation_id="getAlertmanagerSilence",
    summary="One silence",
    responses={**_GONE, **problems(422)},
)
async def get_silence(silence_id: str, backend: BackendDep) -> GettableSilence:
    """As it stands."""
    found = next((one for one in backend.desk.silences() if one.id == silence_id), None)
    if found is None:
        raise _RefusedError(404, f"There is no silence {silence_id}.")
    return GettableSilence.of(found, backend.clock.now())


@router.delete(
    "/silence/{silence_id}",
    operation_id="deleteAlertmanagerSilence",
    summary="End a silence",
    dependencies=[Writer],
    openapi_extra=_OPEN,
    responses={**_WRONG, **_GONE, **_BUSY, **problems(401, 403, 422)},
)
async def delete_silence(silence_id: str, backend: BackendDep) -> Empty:
    """Alerts that it kept quiet are told of again, from the pipeline's next step on."""
    try:
        ended = backend.desk.plan_end(silence_id)
    except KeyError:
        raise _RefusedError(404, f"There is no silence {silence_id}.") from None
    except ValueError as error:
        raise _RefusedError(400, error) from error
    await _hand_over(backend, (ended,))
    return Empty()


async def _hand_over(backend: Backend, silences: tuple[Silence, ...]) -> None:
    """Deliver them, and wait a moment: who asks next is to see what was answered.

    Raises:
        _RefusedError: There is no room.
    """
    if not await backend.submit(Delivery(silences=silences)):
        raise _RefusedError(503, _FULL)
    for _ in range(_LOOKS):
        if set(silences) <= set(backend.desk.silences()):
            return
        await backend.clock.sleep(_LOOK_AGAIN)


def _said(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    what = first["msg"].removeprefix("Value error, ")
    return f"{where}: {what}" if where else what


def _matchers(texts: Iterable[str] | None) -> Matchers:
    try:
        return tuple(parse_matcher(one) for one in texts or ())
    except ValueError as error:
        raise _RefusedError(400, error) from error


def _receiver(text: str | None) -> Matcher | None:
    if text is None:
        return None
    try:
        return Matcher(name="receiver", operator=Operator.LIKE, value=text)
    except ValueError as error:
        raise _RefusedError(400, error) from error


def _is(name: str, receiver: Matcher | None) -> bool:
    return receiver is None or receiver.matches({"receiver": name})


def _chosen(rows: Iterable[Seen], matchers: Matchers, receiver: Matcher | None) -> Sequence[Seen]:
    return [
        one
        for one in rows
        if all_match(matchers, dict(one.alert.labels))
        and any(_is(name, receiver) for name in one.receivers)
    ]


def _is_about(silence: Silence, matchers: Matchers) -> bool:
    """As Alertmanager filters: each matcher has to hold for a label that the silence fixes."""
    fixed = {
        one.name: one.value
        for one in silence.matchers
        if not one.operator.negative and not one.operator.is_pattern
    }
    return all_match(matchers, fixed)


def _shown(one: Seen) -> GettableAlert:
    alert = one.alert
    quiet = bool(one.silenced_by or one.inhibited_by)
    return GettableAlert(
        annotations=dict(alert.annotations),
        ends_at=to_rfc3339(one.ends_at),
        fingerprint=alert.fingerprint,
        receivers=tuple(ReceiverModel(name=name) for name in one.receivers),
        starts_at=to_rfc3339(alert.starts_at),
        status=AlertStatus(
            inhibited_by=one.inhibited_by,
            silenced_by=one.silenced_by,
            state="suppressed" if quiet else "active",
        ),
        updated_at=to_rfc3339(alert.updated_at),
        generator_url=alert.generator_url,
        labels=dict(alert.labels),
    )
