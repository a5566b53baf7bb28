"""Every model we know by its kind, and the one way to load a saved one."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from training.models.folder import ModelRefused, kind_of

_WHERE = {
    "lightgbm": ("churn", "ChurnModel"),
    "lightgbm_reference": ("churn", "ReferenceChurn"),
    "churn_mean": ("churn_mean", "ChurnMean"),
    "column_rule": ("rules", "ColumnRule"),
    "classic_churn": ("classical", "ClassicChurn"),
    "classic_value": ("classical", "ClassicValue"),
    "value_gbm": ("value_gbm", "ValueGBM"),
    "value_lstm": ("value_lstm", "ValueLSTM"),
    "value_mean": ("value_mean", "ValueMean"),
    "value_stack": ("value_stack", "ValueStack"),
    "value_stretched": ("value_stretched", "ValueStretched"),
    "past_spend": ("rules", "PastSpend"),
    "hazard": ("hazard", "Hazard"),
    "hazard_churn": ("hazard", "HazardChurn"),
    "gap_rule": ("order_rules", "GapRule"),
    "pace_rule": ("order_rules", "PaceRule"),
    "classic_order": ("order_rules", "ClassicOrder"),
    "next_order": ("next_order", "NextOrder"),
    "personal_frequency": ("repeat", "PersonalFrequency"),
    "repeat_popularity": ("repeat", "RepeatPopularity"),
    "ease": ("explore", "EASE"),
    "popularity": ("explore", "Popularity"),
    "habit": ("habit", "Habit"),
    "repeat_ranker": ("habit", "RepeatRanker"),
    "member_neighbours": ("neighbours", "MemberNeighbours"),
    "blend": ("blend", "Blend"),
    "explore_ranker": ("ranker", "ExploreRanker"),
}


class _Kinds(Mapping[str, type[Any]]):
    """Kind -> class, imported when asked for: a service without an LSTM never pays for torch."""

    def __getitem__(self, kind: str) -> type[Any]:
        module, name = _WHERE[kind]
        model: type[Any] = getattr(import_module(f"training.models.{module}"), name)
        return model

    def __iter__(self) -> Iterator[str]:
        return iter(_WHERE)

    def __len__(self) -> int:
        return len(_WHERE)


MODELS: Mapping[str, type[Any]] = _Kinds()


def load_model(path: Path) -> Any:
    """Load whatever model was saved in a folder, by the kind it recorded.

    Raises
    ------
    ModelRefused
        When the folder holds no model, one this code does not know or lays out otherwise, or a
        changed file.
    """
    kind = kind_of(path)
    if kind not in MODELS:
        raise ModelRefused(
            f"{path} holds a model of kind {kind}; known kinds are {', '.join(MODELS)}. "
            "It was not loaded. Load it with the version of the code that saved it."
        )
    try:
        return MODELS[kind].load(path)
    except (KeyError, TypeError) as error:
        raise ModelRefused(
            f"{path} holds a {kind} as other code saved it ({type(error).__name__}: {error}). It "
            "was not loaded. Load it with the version of the code that saved it, or train again."
        ) from error
