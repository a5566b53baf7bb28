"""A made-up programme with trained champions, small enough to be made in seconds."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features import snapshot as snapshots
from features import table
from features.ingest import ingest
from features.snapshot import Snapshot
from features.sources.export import Export
from features.sources.mapping import Mapping
from programme.settings import Programme, Settings, open_programme
from training import registry
from training.bundle import Bundle, Target, facts_of
from training.golden import Golden
from training.models.boosting import Trees
from training.models.calibration import PlattCalibration
from training.models.churn import ChurnModel
from training.models.conformal import ValueIntervals
from training.models.explore import EASE
from training.models.hazard import Hazard
from training.models.next_order import NextOrder
from training.models.repeat import PersonalFrequency
from training.models.value_gbm import ValueGBM
from training.rows import MemberRows
from training.surrogate import ValueSurrogate
from training.tracking import connect, experiment

FIRST_DAY = date(2024, 1, 1)
AS_OF = date(2024, 9, 2)
TREES = Trees(n_trees=8, num_leaves=4, min_data_in_leaf=5, bagging_fraction=1.0)
MAPPING = {
    "source": "till",
    "programme": {"name": "little", "timezone": "Europe/Berlin", "currency": "EUR"},
    "purchases": {
        "member": "member",
        "occurred_at": "day",
        "order": "order",
        "line": "line",
        "product": "product",
        "amount": "amount",
        "store": "store",
    },
    "products": {"product": "product", "category": "category"},
}


@dataclass(frozen=True)
class LittleProgramme:
    """A home with purchases, one snapshot and, once trained, champions."""

    settings: Settings
    programme: Programme
    snapshot: Snapshot

    def name(self, target: Target) -> str:
        return registry.name_of(target, self.programme)


def purchases(n_members: int, seed: int) -> pd.DataFrame:
    """Members with rhythms of their own; some fall silent."""
    rng = np.random.default_rng(seed)
    n_days = (AS_OF - FIRST_DAY).days
    rows = []
    for member in range(n_members):
        gap, last = rng.uniform(3, 40), n_days - (rng.integers(0, 120) if member % 3 == 0 else 0)
        day = rng.uniform(0, 60)
        while day < last:
            for line in range(int(rng.integers(1, 4))):
                product = int(rng.integers(0, 6)) + 6 * (member % 3)
                rows.append(
                    {
                        "member": f"m{member:03d}",
                        "day": FIRST_DAY + timedelta(days=int(day)),
                        "order": f"{member}-{int(day)}",
                        "line": line,
                        "product": f"p{product:02d}",
                        "category": f"c{product % 4}",
                        "amount": round(float(rng.gamma(2.0, 6.0)) + 0.5, 2),
                        "store": f"s{member % 2}",
                    }
                )
            day += max(1.0, rng.exponential(gap))
    return pd.DataFrame(rows)


def make(home: Path, n_members: int = 120, seed: int = 7) -> LittleProgramme:
    """Ingest the made-up purchases and build the snapshot."""
    settings = Settings(home=home, threads=1)
    home.mkdir(parents=True, exist_ok=True)
    path = home / "till.csv"
    purchases(n_members, seed).to_csv(path, index=False)
    ingest(
        Export([path], Mapping.model_validate(MAPPING)),
        settings,
        datetime(AS_OF.year, AS_OF.month, AS_OF.day, 12, tzinfo=UTC),
    )
    return LittleProgramme(settings, open_programme(settings), snapshots.build(settings, AS_OF))


def bundles(little: LittleProgramme, seed: int = 1) -> dict[Target, Bundle]:
    """Fit one tiny model per target on the snapshot itself; labels follow from its columns."""
    frame = little.snapshot.features()
    features = frame[list(table.MODEL_COLUMNS)].reset_index(drop=True)
    rng = np.random.default_rng(seed)
    risk = features["recency_days"] / (1 + features["gap_days_mean"].fillna(30))
    churned = (risk + rng.normal(0, 0.5, len(risk)) > risk.median()).to_numpy().astype(float)
    rows = MemberRows(
        member_id=frame.index.to_numpy(dtype=object),
        as_of=np.full(len(frame), np.datetime64(AS_OF, "D")),
        features=features,
    )
    churn = ChurnModel(seed=seed, trees=TREES, monotone=("recency_days",), num_threads=1)
    churn.fit(features, churned)
    value = ValueGBM(seed=seed, trees=TREES, num_threads=1).fit(
        rows, features["spend_cents_84d"].to_numpy()
    )
    surrogate = ValueSurrogate(seed=seed, trees=TREES, num_threads=1).fit(
        features, value.predict(rows)
    )
    products = little.snapshot.products()
    calibration = PlattCalibration.fit(churn.raw_score(features), churned)
    return {
        "churn": replace(
            _bundle(little, "churn", churn, calibration=calibration),
            golden=Golden.of(churn, calibration, features),
        ),
        "value": _bundle(
            little,
            "value",
            value,
            surrogate=surrogate,
            intervals=ValueIntervals.fit(value.predict(rows), features["spend_cents_84d"]),
        ),
        "repeat": _bundle(little, "repeat", PersonalFrequency().fit(products)),
        "explore": _bundle(little, "explore", EASE(n_items=18).fit(products)),
        "next_order": _bundle(little, "next_order", _next_order(little, rows, seed)),
    }


def _next_order(little: LittleProgramme, rows: MemberRows, seed: int) -> NextOrder:
    """Fit a hazard on the gaps members are expected to end; who is dormant stays so."""
    horizon = little.programme.value_horizon_days
    dormant = rows.features["recency_days"] > little.programme.active_days
    due = rows.features["next_purchase_due_days"].mask(dormant).fillna(horizon)
    next_days = np.clip(np.round(due.to_numpy()), 0.0, horizon)
    columns = ("recency_days", "gap_days_mean", "gap_days_shrunk", "purchase_days_84d")
    curve = Hazard(horizon, seed=seed, trees=TREES, columns=columns, num_threads=1)
    model = NextOrder(curve).fit(rows, next_days)
    return model.calibrate(model.silence(rows), next_days)


def train(little: LittleProgramme) -> dict[Target, int]:
    """Register and promote every target's model."""
    versions = {}
    for target, bundle in bundles(little).items():
        versions[target] = registered(little, target, bundle)
        registry.promote(little.settings, little.name(target), versions[target], expected=None)
    return versions


def registered(little: LittleProgramme, target: Target, bundle: Bundle) -> int:
    """Register a bundle under a run of its own."""
    name = little.name(target)
    run = connect(little.settings).create_run(experiment(little.settings, name))
    return registry.register(little.settings, name, bundle, run_id=run.info.run_id)


def _bundle(
    little: LittleProgramme,
    target: Target,
    model: Any,
    *,
    calibration: PlattCalibration | None = None,
    surrogate: ValueSurrogate | None = None,
    intervals: ValueIntervals | None = None,
) -> Bundle:
    horizons = {"churn": little.programme.churn_horizon_days, "value": 91, "next_order": 91}
    facts = facts_of(
        model,
        target,
        horizons.get(target, little.programme.repeat_horizon_days),
        data_window=(FIRST_DAY, AS_OF),
        git_sha="unknown",
        surrogate=surrogate,
    )
    return Bundle(model, facts, calibration, surrogate, intervals)
