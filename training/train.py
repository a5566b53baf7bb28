"""The job: split, learn, judge, register one version a target, promote it if it earned it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, cast, get_args

from features import snapshot
from features.lake import Lake
from programme.errors import InputRefused
from programme.settings import Programme, Settings, open_programme
from training import candidates as rivals
from training import labels, leaderboard, promotion, records, registry, splits, tracking
from training.bundle import Bundle, Target, facts_of
from training.config import SplitConfig, TrainConfig
from training.dataset import Baskets, Dataset
from training.forecasts import (
    Candidate,
    Forecasts,
    NothingToJudge,
    Progress,
    churn_forecasts,
    fit_churn,
    fit_value,
    product_forecasts,
    value_forecasts,
)
from training.leaderboard import Leaderboard, Yardstick
from training.promotion import Job
from training.surrogate import ValueSurrogate

TARGETS: tuple[Target, ...] = get_args(Target)


@dataclass(frozen=True)
class _Setting:
    """What every target's job needs."""

    settings: Settings
    programme: Programme
    config: TrainConfig
    progress: Progress

    def horizon_days(self, target: Target) -> int:
        programme = self.programme
        own = {"churn": programme.churn_horizon_days, "value": programme.value_horizon_days}
        return own.get(target, programme.repeat_horizon_days)

    def plan(self, target: Target) -> splits.Plan:
        own: dict[str, SplitConfig] = {
            "churn": self.config.churn.split,
            "value": self.config.value.split,
        }
        split = own.get(target, self.config.recommend.split)
        return splits.plan(
            begins=labels.data_begins(self.settings),
            ends=labels.data_ends(self.settings),
            horizon_days=self.horizon_days(target),
            tests=split.tests,
            validations=split.validations,
            step_days=split.step_days,
            train_max=split.train_max,
            warmup_days=split.warmup_days,
        )

    def judge(
        self,
        yardstick: Yardstick,
        forecasts: Forecasts,
        candidates: tuple[Candidate, ...],
        plan: splits.Plan,
    ) -> Leaderboard:
        self.progress(f"{yardstick.target}: judging {len(candidates)} candidates")
        return leaderboard.judge(
            yardstick, forecasts, candidates, plan, seed=self.config.seed, draws=self.config.draws
        )


def train(
    settings: Settings,
    config: TrainConfig,
    targets: Sequence[str] | None,
    trained_at: datetime,
    progress: Progress = lambda _: None,
) -> list[dict[str, Any]]:
    """Train the targets, register one version each, and promote where it is earned.

    Parameters
    ----------
    targets : of `TARGETS`; None takes all that the programme's data allow
    trained_at : now, zoned; kept with the run

    Returns
    -------
    one leaderboard a target, as `Leaderboard.to_dict` with what was registered

    Raises
    ------
    InputRefused : on an unknown target, or a history too short for it
    NotReady : nothing was ingested
    """
    setting = _Setting(settings, open_programme(settings), config, progress)
    wanted = _with_data(setting, _checked_targets(targets), named=bool(targets))
    for target in wanted:
        setting.plan(target)  # a history too short for one is refused before any is trained
    boards = []
    for target in wanted:
        try:
            job = _JOBS[target](setting)
        except NothingToJudge as error:
            if targets:
                raise
            progress(f"{target}: left out. {error}")
            continue
        boards.append(_keep(setting, job, trained_at))
    return boards


def learn(
    settings: Settings, config: TrainConfig, target: Target, progress: Progress = lambda _: None
) -> Job:
    """Learn and judge one target without storing anything: what an experiment needs."""
    return _JOBS[target](_Setting(settings, open_programme(settings), config, progress))


def stored_leaderboards(settings: Settings, targets: Sequence[str] | None) -> list[dict[str, Any]]:
    """Return the leaderboards of the versions trained last, one a target.

    Raises
    ------
    NotReady : if none was ever trained.
    """
    programme = open_programme(settings)
    names = [registry.name_of(target, programme) for target in _checked_targets(targets)]
    return records.last_leaderboards(settings, names)


def _churn(setting: _Setting) -> Job:
    plan = setting.plan("churn")
    dataset = Dataset(setting.settings, plan.horizon_days)
    candidates = rivals.churn(setting.config, plan.horizon_days, setting.settings.threads)
    forecasts = churn_forecasts(candidates, dataset, plan, setting.progress)
    yardstick = leaderboard.in_money(setting.config.churn.campaign)
    board = setting.judge(yardstick, forecasts, candidates, plan)
    setting.progress(f"churn: learning {board.served} for service")
    needed = _with_parts(candidates, board.served)
    model = fit_churn(needed, dataset, plan, plan.serve, setting.progress)[board.served]
    return Job(
        "churn", yardstick, candidates, forecasts, board, model,
        calibration=forecasts.calibrations[plan.serve, board.served],
        shown=dataset.at(plan.test[-1]).rows.features,
    )  # fmt: skip


def _value(setting: _Setting) -> Job:
    config, plan = setting.config, setting.plan("value")
    dataset = Dataset(setting.settings, plan.horizon_days, config.value.n_weeks)
    candidates = rivals.value(config, plan.horizon_days, setting.settings.threads)
    forecasts = value_forecasts(candidates, dataset, plan, config.seed, setting.progress)
    board = setting.judge(leaderboard.VALUE, forecasts, candidates, plan)
    past = dataset.past(plan.train_as_ofs(plan.serve))
    needed = _with_parts(candidates, board.served)
    model = fit_value(needed, past, config.seed, setting.progress, plan.serve)[board.served]
    setting.progress("value: learning the reasons")
    surrogate = ValueSurrogate(seed=config.seed, num_threads=setting.settings.threads)
    surrogate.fit(past.rows.features, model.predict(past.rows))
    return Job("value", leaderboard.VALUE, candidates, forecasts, board, model, surrogate=surrogate)


def _products(kind: Literal["repeat", "explore"]) -> Callable[[_Setting], Job]:
    def job(setting: _Setting) -> Job:
        config, plan = setting.config, setting.plan(kind)
        baskets = Baskets(setting.settings, plan.horizon_days)
        candidates = rivals.repeat(config) if kind == "repeat" else rivals.explore(config)
        yardstick = leaderboard.REPEAT if kind == "repeat" else leaderboard.EXPLORE
        forecasts = product_forecasts(kind, candidates, baskets, plan, setting.progress)
        board = setting.judge(yardstick, forecasts, candidates, plan)
        setting.progress(f"{kind}: learning {board.served} for service")
        model = _named(candidates, board.served).make().fit(baskets.before(plan.serve))
        return Job(kind, yardstick, candidates, forecasts, board, model)

    return job


_JOBS: Mapping[Target, Callable[[_Setting], Job]] = {
    "churn": _churn,
    "value": _value,
    "repeat": _products("repeat"),
    "explore": _products("explore"),
}


def _keep(setting: _Setting, job: Job, trained_at: datetime) -> dict[str, Any]:
    """Store a job: one run, one version; move the champion where the new one earned it."""
    setting.progress(f"{job.target}: registering")
    settings, board = setting.settings, job.board
    name = registry.name_of(job.target, setting.programme)
    content = Bundle(
        model=job.model,
        facts=facts_of(
            job.model,
            job.target,
            board.horizon_days,
            data_window=(board.plan.begins, board.plan.serve),
            git_sha=tracking.git_sha(Path(__file__).parent),
            grade=board.grade,
            surrogate=job.surrogate,
        ),
        calibration=job.calibration,
        surrogate=job.surrogate,
    )
    with records.run(settings, name, setting.config, trained_at) as record:
        record.board(board, content.facts, Lake(settings).manifest().lake_version)
        record.plots(job.yardstick, job.forecasts, board)
        if job.shown is not None:
            record.reasons(job.model, job.shown)
        version = registry.register(
            settings,
            name,
            content,
            run_id=record.run_id,
            tags={promotion.CANDIDATE_TAG: board.served},
        )
        promoted, why = promotion.decide(settings, setting.config, job, name, version)
        kept = board.to_dict() | {"version": version, "promoted": promoted, "promotion": why}
        kept["verdict"] = f"{kept['verdict']} {name} version {version}: {why}"
        record.kept(kept)
    return kept


def _named(candidates: tuple[Candidate, ...], name: str) -> Candidate:
    return next(candidate for candidate in candidates if candidate.name == name)


def _with_parts(candidates: tuple[Candidate, ...], name: str) -> tuple[Candidate, ...]:
    """Return what must be fitted to have the named one: itself, and what it is a mean of."""
    wanted = (name, *_named(candidates, name).parts)
    return tuple(candidate for candidate in candidates if candidate.name in wanted)


def _checked_targets(targets: Sequence[str] | None) -> tuple[Target, ...]:
    unknown = sorted(set(targets or ()) - set(TARGETS))
    if unknown:
        raise InputRefused(
            f"There is no target {', '.join(unknown)}. Nothing was done. Targets are "
            f"{', '.join(TARGETS)}."
        )
    return cast(tuple[Target, ...], tuple(dict.fromkeys(targets))) if targets else TARGETS


def _with_data(setting: _Setting, wanted: tuple[Target, ...], *, named: bool) -> tuple[Target, ...]:
    """Leave out recommenders where no product is known, or refuse one that was asked for."""
    settings = setting.settings
    recommenders = [target for target in wanted if target in ("repeat", "explore")]
    if not recommenders:
        return wanted
    bought = snapshot.build(settings, snapshot.default_as_of(settings)).products()
    if not bought.empty:
        return wanted
    asked = " and ".join(recommenders)
    if named:
        raise InputRefused(
            f"{settings.home} holds no product numbers, so {asked} cannot be trained. Nothing was "
            "trained. Map the product column and ingest again, or name other targets."
        )
    setting.progress(f"{asked}: left out, the purchases carry no product numbers")
    return tuple(target for target in wanted if target not in recommenders)
