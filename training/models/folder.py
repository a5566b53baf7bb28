"""How a model lies on disk: `model.json` and the files it names, each with its sha256."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from programme.errors import PerennialError

MODEL_FILE = "model.json"


class ModelRefused(PerennialError):
    """A saved model that cannot be trusted to answer as it did when it was saved."""


def write(folder: Path, kind: str, facts: Mapping[str, object], files: Sequence[str] = ()) -> None:
    """Write `model.json` last, naming the kind, its facts and the files already beside it.

    Parameters
    ----------
    folder : must exist
    kind : the model's `kind`
    facts : what `load` needs besides the files; JSON values only, NaN refused
    files : names of files in `folder`, recorded with their sha256
    """
    document = {
        "kind": kind,
        "files": {name: _sha256(folder / name) for name in files},
        "facts": dict(facts),
    }
    text = json.dumps(document, indent=2, allow_nan=False, sort_keys=True, ensure_ascii=False)
    (folder / MODEL_FILE).write_text(text + "\n", encoding="utf-8")


def read(folder: Path, kind: str) -> dict[str, Any]:
    """Return the facts of a model of this kind, after checking every file it names.

    Raises
    ------
    ModelRefused
        When the folder holds no model, another kind, or a file that is absent or was changed.
    """
    document = _document(folder)
    if document["kind"] != kind:
        raise ModelRefused(
            f"{folder} holds a model of kind {document['kind']}, not {kind}. It was not loaded. "
            "Load it with training.models.load_model."
        )
    for name, recorded in document["files"].items():
        path = folder / name
        found = _sha256(path) if path.is_file() else "no file"
        if found != recorded:
            raise ModelRefused(
                f"{path} is not the file that was saved: sha256 {found[:12]}, recorded "
                f"{recorded[:12]}. Its answers could be anything, so the model was not loaded. "
                "Restore the folder from the registry, or train again."
            )
    facts: dict[str, Any] = document["facts"]
    return facts


def kind_of(folder: Path) -> str:
    """Return the kind of the model saved in a folder."""
    return str(_document(folder)["kind"])


def _document(folder: Path) -> dict[str, Any]:
    path = folder / MODEL_FILE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelRefused(
            f"{path} cannot be read as a model ({type(error).__name__}: {error}). Nothing was "
            "loaded. Give the folder a model was saved in."
        ) from error
    if not isinstance(document, dict) or not {"kind", "files", "facts"} <= document.keys():
        raise ModelRefused(
            f"{path} lacks kind, files or facts. Nothing was loaded. "
            "Give the folder a model was saved in."
        )
    return document


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
