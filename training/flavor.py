"""How MLflow keeps one of our models: a folder of data files and no code.

MLflow's own flavours load pickles, or run the `code/` a model brings along; this one only says
where the files lie. `training.registry` reads them, after checking their digests.
"""

import shutil
from pathlib import Path

import pandas as pd
from mlflow.models import Model
from mlflow.models.signature import ModelSignature
from mlflow.types import ColSpec, Schema

from training.bundle import ModelFacts, Target
from training.lookup import DATA_FOLDER

FLAVOR_NAME = "perennial"
EXAMPLE_FILE = "input_example.json"

PRODUCT_INPUTS = {
    "member_id": "string",
    "product_id": "string",
    "purchase_days": "double",
    "last_days": "double",
}
OUTPUTS: dict[Target, dict[str, str]] = {
    "churn": {"churn_probability": "double"},
    "value": {"value_cents": "double"},
    "next_order": {"median_days": "double", "earliest_days": "double", "latest_days": "double"},
    "repeat": {"member_id": "string", "product_id": "string", "rank": "double", "score": "double"},
    "explore": {"member_id": "string", "product_id": "string", "rank": "double", "score": "double"},
}


def save_model(
    path: str, mlflow_model: Model, *, folder: Path, facts: ModelFacts, kind: str
) -> None:
    """Lay out a saved bundle as MLflow wants a logged model.

    Parameters
    ----------
    path : where MLflow collects the files; made here
    mlflow_model : what MLflow records of it
    folder : the bundle
    facts, kind : of the model
    """
    target = Path(path)
    shutil.copytree(folder, target / DATA_FOLDER)
    mlflow_model.signature = signature_of(facts)
    example_of(facts).to_json(target / EXAMPLE_FILE, orient="split", index=False)
    mlflow_model.saved_input_example_info = {
        "artifact_path": EXAMPLE_FILE,
        "type": "dataframe",
        "pandas_orient": "split",
    }
    mlflow_model.add_flavor(FLAVOR_NAME, data=DATA_FOLDER, kind=kind)
    mlflow_model.save(str(target / "MLmodel"))


def signature_of(facts: ModelFacts) -> ModelSignature:
    """Return inputs and outputs; counts too are doubles, since an integer cannot be absent."""
    return ModelSignature(_schema(_inputs(facts)), _schema(OUTPUTS[facts.target]))


def example_of(facts: ModelFacts) -> pd.DataFrame:
    """Return two synthetic rows, never a member's; two, so that no tool fixes the batch at one."""
    rows = {
        name: [1.0, 2.0] if kind == "double" else [f"{name}-1", f"{name}-2"]
        for name, kind in _inputs(facts).items()
    }
    return pd.DataFrame(rows)


def _inputs(facts: ModelFacts) -> dict[str, str]:
    if facts.target in ("repeat", "explore"):
        return PRODUCT_INPUTS
    return dict.fromkeys(facts.columns, "double")


def _schema(columns: dict[str, str]) -> Schema:
    return Schema([ColSpec(kind, name) for name, kind in columns.items()])
