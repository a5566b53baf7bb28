"""Models made of named models: what they may be called, and where each of them is kept."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from programme.errors import InputRefused
from training.models import folder, load_model


def plain_names(models: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Copy a mapping of models, refusing an empty one and names that are no folder.

    Raises
    ------
    InputRefused : in these cases
    """
    if not models or not all(name.isidentifier() for name in models):
        raise InputRefused(
            f"{what} needs at least one model, each under a plain name; got {list(models)}. "
            "None was made. Name them like value_gbm: the names become folders."
        )
    return dict(models)


def save_parts(path: Path, kind: str, models: Mapping[str, Any], **facts: Any) -> None:
    """Write each model into a folder of its name, and further facts beside them."""
    path.mkdir(parents=True, exist_ok=True)
    for name, model in models.items():
        model.save(path / name)
    files = [f"{name}/{folder.MODEL_FILE}" for name in models]
    folder.write(path, kind, {"models": list(models), **facts}, files)


def load_parts(path: Path, kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the models back from the folders of their names, and the other facts."""
    facts = dict(folder.read(path, kind))
    return {name: load_model(path / name) for name in facts.pop("models")}, facts
