"""What a registered model consists of, as files whose digests are checked before any is read."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal, Protocol

from features import sequences
from programme.errors import InputRefused
from training import sealed
from training.golden import Golden
from training.models import load_model
from training.models.calibration import PlattCalibration
from training.models.conformal import ValueIntervals
from training.sealed import FACTS_FILE, ModelChanged
from training.surrogate import ValueSurrogate
from training.tree_text import require_sound_trees

__all__ = [
    "FACTS_FILE", "TARGETS", "Bundle", "ModelChanged", "ModelFacts", "Saveable", "Target",
    "columns_of", "facts_of", "feature_set_of", "parts_of", "read", "read_facts", "weeks_of",
    "write",
]  # fmt: skip

Target = Literal["churn", "value", "repeat", "explore", "next_order"]
TARGETS: tuple[Target, ...] = ("churn", "value", "repeat", "explore", "next_order")

MODEL_FOLDER = "model"
SURROGATE_FOLDER = "surrogate"
GOLDEN_FILE = "golden.json"


class Saveable(Protocol):
    """Any model: it can write itself into a folder as data files."""

    kind: str

    def save(self, path: Path) -> None:
        """Write the model."""


@dataclass(frozen=True)
class ModelFacts:
    """What must be known of a model to use it, beside its files.

    Parameters
    ----------
    target, horizon_days : what it answers
    feature_set : digest of the definitions of `columns`
    columns : the feature columns it consumes
    data_from, data_until : first day read and first day not read, features and labels
    git_sha : commit of the code that trained it
    n_weeks : weeks of history it reads beside the columns; 0 if none
    grade : as the leaderboard gave it
    age_restricted, margin_weight : rules before a product is named; see `training.shelf`
    """

    target: Target
    horizon_days: int
    feature_set: str
    columns: tuple[str, ...]
    data_from: date
    data_until: date
    git_sha: str
    n_weeks: int = 0
    grade: str = ""
    age_restricted: tuple[str, ...] = ()
    margin_weight: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        days = {"data_from": self.data_from.isoformat(), "data_until": self.data_until.isoformat()}
        texts = {"columns": list(self.columns), "age_restricted": list(self.age_restricted)}
        return {**asdict(self), **texts, **days}

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> "ModelFacts":
        """Make it again from `to_dict`."""
        days = {name: date.fromisoformat(facts[name]) for name in ("data_from", "data_until")}
        texts = {name: tuple(facts.get(name, ())) for name in ("columns", "age_restricted")}
        return cls(**{**facts, **days, **texts})


def facts_of(
    model: Saveable,
    target: Target,
    horizon_days: int,
    *,
    data_window: tuple[date, date],
    git_sha: str,
    grade: str = "",
    surrogate: ValueSurrogate | None = None,
) -> ModelFacts:
    """Describe a fitted model; the feature set covers every column it and its surrogate read."""
    columns = tuple(dict.fromkeys((*columns_of(model), *columns_of(surrogate))))
    return ModelFacts(
        target=target,
        horizon_days=horizon_days,
        feature_set=feature_set_of(target, columns, weeks_of(model)),
        columns=columns,
        data_from=data_window[0],
        data_until=data_window[1],
        git_sha=git_sha,
        n_weeks=weeks_of(model),
        grade=grade,
    )


def feature_set_of(target: Target, columns: tuple[str, ...], n_weeks: int) -> str:
    """Return the hash of what a model of this target reads, as the code defines it now."""
    products = target in ("repeat", "explore")
    return sequences.feature_set(columns, n_weeks=n_weeks, products=products)


def parts_of(model: object) -> list[object]:
    """Return a model, or the models a mean or a stack is made of, however deep."""
    parts = getattr(model, "models", None)
    if not isinstance(parts, Mapping):
        return [model]
    return [part for own in parts.values() for part in parts_of(own)]


def columns_of(model: object) -> tuple[str, ...]:
    """Return the feature columns a model consumes; a recommender consumes none."""
    known = (model, *parts_of(model))
    names = (name for part in known for name in getattr(part, "columns", ()))
    return tuple(dict.fromkeys(names))


def weeks_of(model: object) -> int:
    """Return how many weeks of history a model reads; 0 if it reads no weekly sequence."""
    return max(int(getattr(part, "n_weeks_", 0)) for part in parts_of(model))


@dataclass(frozen=True, eq=False)
class Bundle:
    """A model and what belongs to it: calibration for churn; for value, surrogate and intervals.

    A value model without intervals is served without low and high; a churn model without golden
    rows is served after a look at whether its scores are probabilities at all.
    """

    model: Any
    facts: ModelFacts
    calibration: PlattCalibration | None = None
    surrogate: ValueSurrogate | None = None
    intervals: ValueIntervals | None = None
    golden: Golden | None = None

    def __post_init__(self) -> None:
        """Refuse a model that could not be served for want of a part."""
        if self.facts.target == "churn" and self.calibration is None:
            raise InputRefused(
                f"The churn model {self.model.kind} has no calibration, so it gives log-odds and "
                "no probability. Nothing was registered. Fit a PlattCalibration on later rows."
            )
        if self.facts.target == "value" and self.surrogate is None:
            raise InputRefused(
                f"The value model {self.model.kind} has no surrogate, so its answers would come "
                "without reasons. Nothing was registered. Fit a ValueSurrogate to its predictions."
            )


def write(bundle: Bundle, folder: Path) -> str:
    """Save a bundle into an empty folder; return the digest that vouches for all of it."""
    bundle.model.save(folder / MODEL_FOLDER)
    if bundle.surrogate is not None:
        bundle.surrogate.save(folder / SURROGATE_FOLDER)
    if bundle.golden is not None:
        (folder / GOLDEN_FILE).write_text(bundle.golden.to_json() + "\n", encoding="utf-8")
    facts = {
        "facts": bundle.facts.to_dict(),
        "kind": bundle.model.kind,
        "calibration": bundle.calibration.to_dict() if bundle.calibration else None,
        "intervals": bundle.intervals.to_dict() if bundle.intervals else None,
    }
    return sealed.seal(folder, facts)


def read(folder: Path, digest: str) -> Bundle:
    """Load a bundle of which every file is the one that was saved.

    Parameters
    ----------
    folder : as `write` left it
    digest : as `write` returned it, from a place the files' author cannot reach

    Raises
    ------
    ModelChanged : if a file differs, is missing, or was added.
    """
    document = sealed.document(folder, digest)
    require_sound_trees(folder)
    surrogate, golden = folder / SURROGATE_FOLDER, folder / GOLDEN_FILE
    calibration, intervals = document["calibration"], document.get("intervals")
    return Bundle(
        model=load_model(folder / MODEL_FOLDER),
        facts=ModelFacts.from_dict(document["facts"]),
        calibration=PlattCalibration.from_dict(calibration) if calibration else None,
        surrogate=ValueSurrogate.load(surrogate) if surrogate.is_dir() else None,
        intervals=ValueIntervals.from_dict(intervals) if intervals else None,
        golden=Golden.from_json(golden.read_text("utf-8")) if golden.is_file() else None,
    )


def read_facts(folder: Path, digest: str) -> ModelFacts:
    """Return what is known of a saved bundle: only its facts and the sizes of its files are read.

    Raises
    ------
    ModelChanged : if the facts differ, or a file is missing, was added or has another size.
    """
    return ModelFacts.from_dict(sealed.measured(folder, digest)["facts"])
