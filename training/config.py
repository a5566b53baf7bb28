"""How a training job is done; every number a data scientist may want to change."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from programme.errors import InputRefused
from programme.faults import in_words
from programme.settings import WholeWeeks

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Cents = Annotated[float, Field(ge=0, allow_inf_nan=False)]
# LightGBM keeps its seed in 32 bits, and numpy takes no negative one.
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class SplitConfig(_Section):
    """How many as_ofs to learn from, choose on and judge on."""

    tests: Positive = 3
    validations: Positive = 2
    step_days: WholeWeeks = 14
    train_max: Positive = 12
    warmup_days: WholeWeeks = 56


class Campaign(_Section):
    """What contacting one member costs and may bring, before any campaign was measured.

    Parameters
    ----------
    member_cents : what a member who stays is worth
    offer_cents : the offer, where it is taken: by who is saved, and by who would have stayed
    contact_cents : reaching one member, whatever she does
    save_rate : share of the leavers contacted who stay, as expected
    save_rate_weight : how many members' worth of experience stands behind it: the save rate is
        Beta(save_rate * weight, (1 - save_rate) * weight)

    Source
    ------
    The defaults are those of Verbraken, Verbeke & Baesens (2013), A novel profit maximizing metric
    for measuring classification performance of customer churn prediction models, IEEE TKDE 25(5):
    200, 10 and 1 units of currency, Beta(6, 14).
    """

    member_cents: Cents = 20_000.0
    offer_cents: Cents = 1_000.0
    contact_cents: Cents = 100.0
    save_rate: Share = 0.3
    save_rate_weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 20.0

    @model_validator(mode="after")
    def _something_to_win(self) -> Self:
        if self.member_cents <= self.offer_cents:
            raise ValueError("member_cents must be above offer_cents, or no offer can pay")
        return self

    @property
    def loss_cents(self) -> float:
        """Return what contacting one who stays anyway costs."""
        return self.offer_cents + self.contact_cents

    @property
    def least_probability(self) -> float:
        """Return the churn probability from which a contact pays: (d + f) / (g (CLV - d) + d)."""
        gain = self.save_rate * (self.member_cents - self.offer_cents) + self.offer_cents
        return self.loss_cents / gain

    def gain_cents(self, save_rate: float) -> float:
        """Return what contacting one leaver brings at a save rate."""
        return save_rate * (self.member_cents - self.offer_cents) - self.contact_cents


class ChurnConfig(_Section):
    """P(no purchase within the horizon)."""

    split: SplitConfig = SplitConfig()
    n_trees: Positive | None = None
    # Boosters whose log-odds are averaged; each takes as long as the first.
    n_seeds: Positive = 2
    campaign: Campaign = Campaign()


class ValueConfig(_Section):
    """Spend within the horizon."""

    split: SplitConfig = SplitConfig(tests=2, validations=1)
    n_weeks: Positive = 39
    # Shorter horizons the network learns beside the value horizon.
    shorter_horizons_days: tuple[WholeWeeks, ...] = (28,)
    lstm_seeds: Annotated[int, Field(ge=3)] = 5
    device: Literal["auto", "cpu", "cuda"] = "auto"
    # Sequences are long: beyond this many rows each network learns from a sample of its own.
    lstm_rows_max: Positive = 30_000


class RecommendConfig(_Section):
    """Products to buy again, and products to try."""

    # Rankers learn from whole windows a horizon apart.
    split: SplitConfig = SplitConfig(tests=2, validations=1, step_days=28, train_max=2)
    n_items: Positive = 3_000
    half_life_days: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 60.0
    habit_half_life_days: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 120.0
    # How fast a product is let go whose own gap has passed, per gap.
    letting_go: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.1
    # Weights tried for the blend, and members learned from per past day.
    draws: Annotated[int, Field(ge=0)] = 30
    members_max: Positive = 1_500
    # Categories, product types or departments that may not be offered, in any case of letters.
    age_restricted: tuple[str, ...] = ()
    # How much a margin moves a place in the list: 0 leaves the order to what members want.
    margin_weight: Annotated[float, Field(ge=0, le=10)] = 0.0


class NextOrderConfig(_Section):
    """The day of the next purchase."""

    split: SplitConfig = SplitConfig(tests=2, validations=1, train_max=8)
    n_trees: Positive | None = None


class RetrainConfig(_Section):
    """When a champion is due to be trained again; whichever comes first.

    Parameters
    ----------
    age_days_max : days of data since what it learned from
    psi_max : population stability index of its answers, or of a column that carries much of them
    loss_max : share of its own test figure that it may surely lose on days that came since
    """

    age_days_max: Positive = 35
    psi_max: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.25
    loss_max: Annotated[float, Field(gt=0, lt=1)] = 0.10


class TrainConfig(_Section):
    """One training job."""

    seed: Seed = 20_171_204
    draws: Annotated[int, Field(ge=100)] = 1_000
    # Churn and value learn from, and are judged on, at most so many members of an as_of, the same
    # ones at each. A dozen as_ofs of 25,000 take churn to 2.4 GB, of 5,000 to 1.1 GB (measured).
    members_max: Annotated[int, Field(ge=1_000)] = 25_000
    churn: ChurnConfig = ChurnConfig()
    value: ValueConfig = ValueConfig()
    recommend: RecommendConfig = RecommendConfig()
    retrain: RetrainConfig = RetrainConfig()
    next_order: NextOrderConfig = NextOrderConfig()


def read_config(path: Path | None) -> TrainConfig:
    """Read a TOML file over the defaults; None gives the defaults.

    Raises
    ------
    InputRefused : if the file is absent, is not TOML, or has an unknown or impossible key.
    """
    if path is None:
        return TrainConfig()
    if not path.is_file():
        raise InputRefused(f"The config {path} is not a file. Nothing was trained.")
    try:
        return TrainConfig.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputRefused(f"{path} is not TOML: {error}. Nothing was trained.") from error
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise InputRefused(
            f"{path}: {where}: {in_words(fault)}. Nothing was trained. The keys are those of "
            "TrainConfig in training/config.py."
        ) from error
