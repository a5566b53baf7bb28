"""The rival: what one writes in an afternoon around the same trees with FastAPI and LightGBM.

It is sent the features of each member, so it has nothing to look up, no reasons, no keys, no
metrics and no limits. Started with `uvicorn experiments.bench_serving.rival:app`.
"""

import json
import os
from pathlib import Path

import lightgbm as lgb
import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel
from scipy.special import expit

_FOLDER = Path(os.environ["RIVAL_MODEL"])
_BOOSTERS = [lgb.Booster(model_file=path) for path in sorted(_FOLDER.glob("*.txt"))]
_LINE = json.loads((_FOLDER / "calibration.json").read_text())

app = FastAPI()


class Rows(BaseModel):
    """Members, as rows of features."""

    rows: list[list[float | None]]


class Scores(BaseModel):
    """A probability each."""

    churn_probability: list[float]


@app.post("/score")
async def score(asked: Rows) -> Scores:
    """Score rows with the mean of the boosters."""
    rows = np.array(asked.rows, dtype=np.float64)
    raw = np.mean([one.predict(rows, raw_score=True, num_threads=1) for one in _BOOSTERS], axis=0)
    return Scores(churn_probability=expit(_LINE["slope"] * raw + _LINE["intercept"]).tolist())


@app.get("/readyz")
async def ready() -> dict[str, bool]:
    """Say that it is up."""
    return {"ready": True}
