# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # What drives churn?
#
# Which reasons move the champion's scores, whether they can be believed, and what they do not say.
# It reads the home that `make demo` made.

# %%
import numpy as np
import pandas as pd
import shap

from features import snapshot
from programme.settings import Settings
from programme.words import label
from training.champions import Champions
from training.explain import CODES, driver_of
from training.faithfulness import largest_gap, parts_by_driver, top_matters
from training.remedies import remedies

settings = Settings.load()
champions = Champions.load(settings)
taken = snapshot.latest(settings)
population = champions.population(taken)
model = champions.churn.bundle.model
rows = population.features
model.kind

# %% [markdown]
# ## A dozen reasons
#
# Contributions are exact: the reasons and the base add up to the raw score of every member.

# %%
gap = largest_gap(model, rows)
assert gap < 1e-6
parts = parts_by_driver(model, rows)[:, :-1]
strength = pd.Series(np.abs(parts).mean(axis=0), index=[label(f"driver.{c}", "en") for c in CODES])
shares = (strength / strength.sum()).sort_values(ascending=False)
shares[shares > 0].round(3).to_frame("share of all that moves the scores")

# %% [markdown]
# ## Do they matter?
#
# For each member the top reason is put out of the model's sight, and so is another one drawn at
# random. The top one should move the score more.

# %%
matters = top_matters(model, rows, seed=7)
print(f"the top reason moves the score at least as much as another for {matters:.0%} of members")

# %% [markdown]
# ## Column by column
#
# SHAP's picture of the columns behind the strongest reason.

# %%
strongest = CODES[int(np.abs(parts).mean(axis=0).argmax())]
columns = list(model.columns)
own = [place for place, name in enumerate(columns) if driver_of(name) == strongest]
shown = rows[columns].to_numpy(dtype=float)[:, own]
shap.plots.beeswarm(
    shap.Explanation(
        values=model.contributions(rows)[:, own],
        data=shown,
        feature_names=[columns[place] for place in own],
    ),
    max_display=10,
)

# %% [markdown]
# ## What they do not say
#
# Reasons describe the model. Whether something would change if it were acted on is another
# question, with three answers of different standing for one member: the model's arithmetic, what
# became of members like her, and what an experiment measured.

# %%
risky = population.members[int(np.argmax(population.churn_probability * population.value_cents))]
found = remedies(taken, champions.churn.bundle, str(risky))
print(f"{risky}: {found.churn_probability:.0%}")
for swap in found.swaps:
    print(f"arithmetic: {swap.code} {swap.now} -> {swap.then}: {swap.churn_probability:.0%}")
print("alike:", found.alike)
print("measured:", found.measured or label("explain.measured_not", "en"))
