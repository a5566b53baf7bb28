"""The registered models: register, promote, roll back, load.

One registered model per target and horizon, with the aliases `champion`, `challenger` and
`previous`. What is loaded is data whose digest the registry's database holds; nothing a model
brings along is ever executed.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model

from programme.errors import InputRefused, PerennialError
from programme.settings import Settings
from training import bundle, flavor, lookup
from training.bundle import Bundle
from training.lookup import (
    CHALLENGER,
    CHAMPION,
    DIGEST_TAG,
    PREVIOUS,
    FeatureSetMismatch,
    RegisteredModel,
    name_of,
)
from training.tracking import connect, locked

__all__ = [
    "CHALLENGER", "CHAMPION", "DIGEST_TAG", "PREVIOUS", "ChampionMoved", "FeatureSetMismatch",
    "RegisteredModel", "champion_version", "load", "name_of", "promote", "register", "roll_back",
    "tag",
]  # fmt: skip


class ChampionMoved(InputRefused):
    """Somebody promoted another version in the meantime."""


def register(
    settings: Settings,
    name: str,
    content: Bundle,
    *,
    run_id: str,
    tags: Mapping[str, str] | None = None,
) -> int:
    """Store a model as exactly one new version, the challenger; the champion does not move.

    Parameters
    ----------
    settings : of the home
    name : the registered model, from `name_of`
    content : the model, its facts and what belongs to it
    run_id : the MLflow run that trained it
    tags : more to remember, such as the metric it won by

    Returns
    -------
    the version
    """
    client = connect(settings)
    facts = content.facts
    about = {
        **(tags or {}),
        "kind": content.model.kind,
        "feature_set": facts.feature_set,
        "git_sha": facts.git_sha,
        "data_window": f"{facts.data_from}..{facts.data_until}",
        "grade": facts.grade,
    }
    run = client.get_run(run_id)
    logged = client.create_logged_model(
        run.info.experiment_id, name=name, source_run_id=run_id, tags=about, model_type=facts.target
    )
    with tempfile.TemporaryDirectory() as place:
        digest = bundle.write(content, _made(Path(place) / "bundle"))
        described = Model(
            artifact_path=logged.artifact_location,
            run_id=run_id,
            model_uuid=logged.model_id,
            model_id=logged.model_id,
            metadata={**facts.to_dict(), DIGEST_TAG: digest},
        )
        flavor.save_model(
            str(Path(place) / "logged"),
            described,
            folder=Path(place) / "bundle",
            facts=facts,
            kind=content.model.kind,
        )
        client.log_model_artifacts(logged.model_id, str(Path(place) / "logged"))
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    _ensure_registered(client, name)
    version = client.create_model_version(
        name,
        source=f"models:/{logged.model_id}",
        run_id=run_id,
        tags={**about, DIGEST_TAG: digest},
        model_id=logged.model_id,
    )
    client.set_registered_model_alias(name, CHALLENGER, str(version.version))
    return int(version.version)


def champion_version(settings: Settings, name: str, alias: str = CHAMPION) -> int | None:
    """Return the version an alias points at, None if there is none."""
    found = _by_alias(connect(settings), name, alias)
    return int(found.version) if found else None


def tag(settings: Settings, name: str, version: int, key: str) -> str | None:
    """Return what a version was tagged with, None where it was not."""
    found: str | None = connect(settings).get_model_version(name, str(version)).tags.get(key)
    return found


def promote(settings: Settings, name: str, version: int, *, expected: int | None) -> None:
    """Make a version the champion; the old champion becomes `previous`.

    Parameters
    ----------
    settings, name : which registered model
    version : the new champion
    expected : the champion the caller compared it with, None if there was none

    Raises
    ------
    ChampionMoved : if the champion is not the expected one, so the comparison is out of date.
    InputRefused : if there is no such version, or a service could not take it up.
    """
    client = connect(settings)
    _require_loadable(settings, name, version, "No alias was moved")
    with locked(settings):
        present = champion_version(settings, name)
        if present != expected:
            raise ChampionMoved(
                f"The champion of {name} is {_said(present)}, not {_said(expected)} as expected: "
                f"someone promoted meanwhile. Version {version} was not promoted. Compare it "
                "with the present champion, then promote again."
            )
        if version == present:
            return
        # In this order a crash between the two leaves the old champion in place.
        if present is not None:
            client.set_registered_model_alias(name, PREVIOUS, str(present))
        client.set_registered_model_alias(name, CHAMPION, str(version))
        if champion_version(settings, name, CHALLENGER) == version:
            client.delete_registered_model_alias(name, CHALLENGER)


def roll_back(settings: Settings, name: str) -> int:
    """Make the previous champion the champion again; return its version.

    `previous` is then gone, so that rolling back twice cannot bring the bad version back.

    Raises
    ------
    InputRefused : if there is no previous champion, or a service could not take it up.
    """
    client = connect(settings)
    with locked(settings):
        before = champion_version(settings, name, PREVIOUS)
        if before is None:
            raise InputRefused(
                f"{name} has no previous champion. Nothing was rolled back; the champion is "
                f"{_said(champion_version(settings, name))}. Promote a version by its number."
            )
        _require_loadable(settings, name, before, "Nothing was rolled back")
        client.set_registered_model_alias(name, CHAMPION, str(before))
        client.delete_registered_model_alias(name, PREVIOUS)
        return before


def load(settings: Settings, name: str, alias: str = CHAMPION) -> RegisteredModel:
    """Load the version an alias points at, if its files and its features are the right ones.

    Raises
    ------
    NotReady : if there is no such model or alias.
    ModelChanged : if a file is not the registered one.
    FeatureSetMismatch : if the columns it consumes are defined differently now.
    GoldenMissed : if it answers otherwise than when it was registered.
    """
    return lookup.load_alias(settings, name, alias)


def _by_alias(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def _require_loadable(settings: Settings, name: str, version: int, undone: str) -> None:
    """Load a version as a service will, so that none is told to serve what it must refuse."""
    found = lookup.numbered(settings, name, version)
    if found is None:
        raise InputRefused(
            f"There is no version {version} of {name}. {undone}. "
            "List the versions with: perennial leaderboard"
        )
    try:
        lookup.load(settings, found)
    except PerennialError as error:
        raise InputRefused(f"{found} cannot be served. {undone}. {error}") from error


def _ensure_registered(client: MlflowClient, name: str) -> None:
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _said(version: int | None) -> str:
    return "no version" if version is None else f"version {version}"
