# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # One member, from the till to a score
#
# We follow one household of Complete Journey: what she bought, what was known of her at a midnight,
# what a model that knew no more said, what she did next, and what the champions say of her today.
# It reads the home that `make demo` made.

# %%
from datetime import date

import pandas as pd
import shap

from features import engine, snapshot
from features.lake import Lake
from programme.settings import Settings, open_programme
from programme.words import label
from training.champions import Champions
from training.config import ChurnConfig, SplitConfig, TrainConfig
from training.labels import outcomes
from training.train import learn

settings = Settings.load()
programme = open_programme(settings)
member_id = "1229"
as_of = date(2017, 12, 4)  # 00:00 in New York

# %% [markdown]
# ## Raw purchases

# %%
lake = Lake(settings)
with engine.connect(settings) as connection:
    lines = connection.execute(
        f"""select order_id, occurred_at, known_at, product_id, net_cents, discount_cents
        from ({lake.rows_sql("purchases", lake.ready())})
        where source_key = {engine.text(member_id)} order by occurred_at desc limit 8"""
    ).df()
lines

# %% [markdown]
# ## What was known at that midnight
#
# Lines that happened, or became known, on or after `as_of` do not count.

# %%
then = snapshot.build(settings, as_of)
then.features().loc[member_id].to_frame("value").head(24)

# %% [markdown]
# ## What a model said then, and what she did
#
# `learn` judges forward in time: the model that answers at `as_of` learned only from label windows
# that had ended by then. Fewer days to learn from than `perennial train` takes, to be quick.

# %%
split = SplitConfig(tests=1, validations=2, train_max=4)
job = learn(settings, TrainConfig(draws=200, churn=ChurnConfig(split=split)), "churn")
asked = job.forecasts.at((as_of,)).set_index("member_id").loc[member_id]
calibration = job.forecasts.calibrations[as_of, "lightgbm"]
said = float(calibration.apply([asked["lightgbm"]])[0])
followed = outcomes(settings, as_of, programme.churn_horizon_days, [member_id], then.lake_version)
print(f"on {as_of}: P(no purchase in {programme.churn_horizon_days} days) = {said:.3f}")
print("she stayed away" if followed.churned[0] else "she came back")
assert followed.churned[0] == asked["truth"]

# %% [markdown]
# ## What the champions say today, and why

# %%
champions = Champions.load(settings)
population = champions.population(snapshot.latest(settings))
(score,) = champions.score(population, [member_id])
assert score.churn is not None and score.value is not None
print(f"as of {score.as_of}: {score.churn.churn_probability:.3f}, {score.churn.risk_band} risk, ")
print(f"percentile {score.churn.percentile}; worth {score.value.value_cents / 100:,.0f}")
print(f"{programme.currency} in the next {score.value.horizon_days} days")

# %% [markdown]
# The contributions are log-odds; with the base they add up to the raw score exactly.

# %%
money = {"currency": programme.currency}
drivers = score.churn.drivers
reasons = pd.DataFrame(
    {
        "contribution": [driver.contribution for driver in drivers],
        "why": [label(f"driver.{d.code}", "en", **d.parameters, **money) for d in drivers],
        "原因": [label(f"driver.{d.code}", "zh", **d.parameters, **money) for d in drivers],
    }
)
assert abs(score.churn.base + reasons["contribution"].sum() - score.churn.raw_score) < 1e-9
reasons

# %% [markdown]
# Column by column, as SHAP draws it. The service groups these into the reasons above.

# %%
model = champions.churn.bundle.model
row = population.features.iloc[[population.members.get_loc(member_id)]]
parts = model.contributions(row)[0]
shap.plots.waterfall(
    shap.Explanation(
        values=parts[:-1],
        base_values=parts[-1],
        data=row[list(model.columns)].to_numpy()[0],
        feature_names=list(model.columns),
    ),
    max_display=12,
)
