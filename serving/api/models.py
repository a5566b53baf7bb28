"""The route of models: which versions answer, how they were judged, who would like to follow."""

from typing import Any

from fastapi import APIRouter

from programme.settings import Settings
from serving.api.member_schemas import ModelAnswer, ModelsAnswer
from serving.live import Live
from serving.points import PointsDesk
from training import judged
from training.judged import Judged

READ = {"x-scope": "models:read"}


def create_routes(live: Live, desk: PointsDesk, responses: dict[int | str, Any]) -> APIRouter:
    """Make the route over the registry and what is in service.

    Parameters
    ----------
    responses : what the description promises for each thing that can go wrong
    """
    routes = APIRouter(responses=responses)

    @routes.get("/v1/models", operation_id="list_models", openapi_extra=READ)
    def models() -> ModelsAnswer:
        """List champions, challengers and who came before: versions, grades and figures."""
        found = judged.every(desk.settings or Settings.load(), desk.programme)
        in_service = [] if live.reason else [str(part) for part in live.loaded.source]
        return ModelsAnswer(
            models=[_model(one) for one in found], in_service=in_service,
            shadow=live.shadow_report(),
        )  # fmt: skip

    return routes


def _model(one: Judged) -> ModelAnswer:
    return ModelAnswer(
        name=one.name, target=one.target, alias=one.alias, version=one.version,
        trained_at=one.trained_at, grade=one.params.get("grade"), kind=one.params.get("served"),
        feature_set=one.params.get("feature_set"), data_window=one.params.get("data_window"),
        metrics=dict(one.metrics),
    )  # fmt: skip
