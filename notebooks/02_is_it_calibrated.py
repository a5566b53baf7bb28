# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # Is it calibrated?
#
# When the service says 30 %, do 30 % of those members stay away? We judge one candidate on days it
# had not learned from, calibrated on the day a horizon before, and ask the same of groups by tenure
# and by day. It reads the home that `make demo` made.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from features import snapshot
from programme.settings import Settings
from training.config import ChurnConfig, SplitConfig, TrainConfig
from training.metrics import brier, decile_table, ece
from training.train import learn

settings = Settings.load()
split = SplitConfig(tests=3, validations=2, train_max=4)
job = learn(settings, TrainConfig(draws=200, churn=ChurnConfig(split=split)), "churn")
served = job.board.served
served

# %% [markdown]
# ## Probabilities on the test days
#
# Each day's raw scores become probabilities by a calibration fitted on an earlier day: what the
# service does, and what an in-sample curve would hide.

# %%
parts = []
for day in job.board.plan.test:
    rows = job.forecasts.at((day,))
    rows = rows[rows["active"]].copy()
    rows["said"] = job.forecasts.calibrations[day, served].apply(rows[served].to_numpy())
    rows["raw_said"] = 1 / (1 + np.exp(-rows[served]))
    parts.append(rows)
judged = pd.concat(parts, ignore_index=True)
judged[["truth", "said"]].mean().round(4)

# %%
table = decile_table(judged["truth"], judged["said"])
figure, axes = plt.subplots(figsize=(5, 5))
axes.plot([0, table["predicted_mean"].max()], [0, table["predicted_mean"].max()], ":", color="grey")
axes.plot(table["predicted_mean"], table["actual_mean"], "o-")
axes.set(xlabel="said", ylabel="happened", title=f"{served}, ten equal groups")
table.round(3)

# %% [markdown]
# ## What calibration is worth
#
# Expected calibration error and Brier score, raw and calibrated, beside the one who always says
# the average of the days before.

# %%
before = job.forecasts.at(job.board.plan.validation)
average = np.full(len(judged), before.loc[before["active"], "truth"].mean())
answers = {"calibrated": judged["said"], "raw": judged["raw_said"], "the average": average}
scores = pd.DataFrame(
    {
        name: {"ECE": ece(judged["truth"], said), "Brier": brier(judged["truth"], said)}
        for name, said in answers.items()
    }
).T
assert scores.loc["calibrated", "Brier"] < scores.loc["the average", "Brier"]
scores.round(4)

# %% [markdown]
# ## For whom it is right, and for whom less
#
# A curve over everybody may hide two groups whose errors cancel. By tenure and by day, with the
# standard error of what happened: beyond two of them is worth a look.

# %%
tenure = pd.concat(
    [snapshot.build(settings, day).features()["tenure_days"] for day in job.board.plan.test],
    keys=list(job.board.plan.test),
)
judged["tenure"] = [
    tenure[day.date(), member]
    for day, member in zip(judged["as_of"], judged["member_id"], strict=True)
]
groups = {
    "tenure": pd.cut(judged["tenure"], [0, 182, 273, 330, 400]).astype(str),
    "day": judged["as_of"].dt.date.astype(str),
}
for name, group in groups.items():
    shown = judged.groupby(group).agg(
        members=("truth", "size"), said=("said", "mean"), happened=("truth", "mean")
    )
    error = np.sqrt(shown["happened"] * (1 - shown["happened"]) / shown["members"])
    shown["off_by_se"] = (shown["happened"] - shown["said"]) / error
    print(f"by {name}")
    print(shown.round(3).to_string(), "\n")
