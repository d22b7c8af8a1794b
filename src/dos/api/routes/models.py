"""Models of detection: what decides, what runs in shadow, and whether it still fits."""

from __future__ import annotations

from fastapi import APIRouter

from dos.api.access import BackendDep
from dos.api.model_schema import DriftOut, ModelsOut
from dos.api.wire import Listing

router = APIRouter(tags=["models"])


class DriftList(Listing[DriftOut]):
    """Groups of series, by name."""


@router.get("/models", operation_id="getModels", summary="Models of detection")
async def get_models(backend: BackendDep) -> ModelsOut:
    """What decides, what a model in shadow would have decided, the candidates, and the audit.

    `dos models` makes candidates, runs them in shadow, promotes them and rolls back.
    """
    return ModelsOut.model_validate(backend.models())


@router.get("/drift", operation_id="listDrift", summary="Does what was learned still fit?")
async def list_drift(backend: BackendDep) -> DriftList:
    """For each group of series whether its samples lie in their bands as they used to."""
    return DriftList(items=[DriftOut.model_validate(one) for one in backend.drift()])
