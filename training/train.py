"""The job: split, learn, judge, register one version a target, promote it if it earned it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, cast, get_args

from features import snapshot
from features.lake import Lake
from features.table import MODEL_COLUMNS
from programme.errors import InputRefused
from programme.settings import Programme, Settings, open_programme
from training import candidates as rivals
from training import card, labels, leaderboard, promotion, records, registry, splits, tracking
from training.baskets import Baskets
from training.bundle import Bundle, Target, facts_of
from training.config import SplitConfig, TrainConfig
from training.dataset import Dataset
from training.forecasts import (
    Candidate,
    Forecasts,
    NothingToJudge,
    Progress,
    churn_forecasts,
    fit_churn,
    fit_products,
    fit_value,
    intervals,
    product_forecasts,
    value_forecasts,
)
from training.golden import Golden
from training.leaderboard import Leaderboard, Yardstick
from training.order_forecasts import OrderHistory, fit_next_order, next_order_forecasts
from training.promotion import Job
from training.surrogate import ValueSurrogate
from training.windows import settled_throughout

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
        own = {
            "churn": programme.churn_horizon_days,
            "value": programme.value_horizon_days,
            "next_order": programme.value_horizon_days,
        }
        return own.get(target, programme.repeat_horizon_days)

    def plan(self, target: Target) -> splits.Plan:
        own: dict[str, SplitConfig] = {
            "churn": self.config.churn.split,
            "value": self.config.value.split,
            "next_order": self.config.next_order.split,
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
    wanted = _with_data(setting, checked_targets(targets), named=bool(targets))
    for target in wanted:
        setting.plan(target)  # a history too short for one is refused before any is trained
    with tracking.one_training(settings):
        boards = (_trained(setting, target, trained_at, bool(targets)) for target in wanted)
        return [board for board in boards if board is not None]


def _trained(
    setting: _Setting, target: Target, trained_at: datetime, named: bool
) -> dict[str, Any] | None:
    """Train one target in a run of its own; None where there was nothing to judge it by."""
    name = registry.name_of(target, setting.programme)
    try:
        with records.run(setting.settings, name, setting.config, trained_at) as record:
            return _keep(setting, _JOBS[target](setting), record, trained_at)
    except NothingToJudge as error:
        if named:
            raise
        setting.progress(f"{target}: left out. {error}")
        return None


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
    names = [registry.name_of(target, programme) for target in checked_targets(targets)]
    return records.last_leaderboards(settings, names)


def _churn(setting: _Setting) -> Job:
    plan = setting.plan("churn")
    members_max = setting.config.members_max
    dataset = Dataset(setting.settings, plan.horizon_days, members_max=members_max)
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
    shorter = rivals.shorter_horizons(config, plan.horizon_days)
    dataset = Dataset(
        setting.settings, plan.horizon_days, config.value.n_weeks, shorter,
        members_max=config.members_max,
    )  # fmt: skip
    columns = settled_throughout(MODEL_COLUMNS, plan)
    candidates = rivals.value(config, plan.horizon_days, setting.settings.threads, columns)
    forecasts = value_forecasts(candidates, dataset, plan, config.seed, setting.progress)
    board = setting.judge(leaderboard.VALUE, forecasts, candidates, plan)
    past = dataset.past(plan.train_as_ofs(plan.serve))
    needed = _with_parts(candidates, board.served)
    model = fit_value(needed, past, config.seed, setting.progress, plan.serve)[board.served]
    setting.progress("value: learning the reasons")
    surrogate = ValueSurrogate(seed=config.seed, num_threads=setting.settings.threads)
    surrogate.fit(past.rows.features, model.predict(past.rows))
    return Job(
        "value", leaderboard.VALUE, candidates, forecasts, board, model,
        surrogate=surrogate, intervals=intervals(forecasts, plan, board.served),
    )  # fmt: skip


def _next_order(setting: _Setting) -> Job:
    plan = setting.plan("next_order")
    history = OrderHistory(
        setting.settings, plan.horizon_days, members_max=setting.config.members_max
    )
    candidates = rivals.next_order(setting.config, plan.horizon_days, setting.settings.threads)
    forecasts, levels = next_order_forecasts(candidates, history, plan, setting.progress)
    board = setting.judge(leaderboard.NEXT_ORDER, forecasts, candidates, plan)
    setting.progress(f"next_order: learning {board.served} for service")
    served = _named(candidates, board.served)
    model = fit_next_order(served, history, plan, levels[plan.serve, board.served])
    return Job("next_order", leaderboard.NEXT_ORDER, candidates, forecasts, board, model)


def _products(kind: Literal["repeat", "explore"]) -> Callable[[_Setting], Job]:
    def job(setting: _Setting) -> Job:
        config, plan = setting.config, setting.plan(kind)
        baskets = Baskets(setting.settings, plan.horizon_days)
        made = rivals.repeat if kind == "repeat" else rivals.explore
        candidates = made(config, setting.settings.threads)
        yardstick = leaderboard.REPEAT if kind == "repeat" else leaderboard.EXPLORE
        forecasts = product_forecasts(kind, candidates, baskets, plan, setting.progress)
        board = setting.judge(yardstick, forecasts, candidates, plan)
        setting.progress(f"{kind}: learning {board.served} for service")
        model = fit_products(_named(candidates, board.served), baskets, plan, plan.serve)
        return Job(kind, yardstick, candidates, forecasts, board, model)

    return job


_JOBS: Mapping[Target, Callable[[_Setting], Job]] = {
    "churn": _churn,
    "value": _value,
    "repeat": _products("repeat"),
    "explore": _products("explore"),
    "next_order": _next_order,
}


def _keep(
    setting: _Setting, job: Job, record: records.Record, trained_at: datetime
) -> dict[str, Any]:
    """Store a job as one version; move the champion where the new one earned it."""
    setting.progress(f"{job.target}: registering")
    settings, board = setting.settings, job.board
    name = registry.name_of(job.target, setting.programme)
    facts = facts_of(
        job.model,
        job.target,
        board.horizon_days,
        data_window=(board.plan.begins, board.plan.serve),
        git_sha=tracking.git_sha(Path(__file__).parent),
        grade=board.grade,
        surrogate=job.surrogate,
    )
    if job.target in ("repeat", "explore"):
        asked = setting.config.recommend
        facts = replace(
            facts, age_restricted=asked.age_restricted, margin_weight=asked.margin_weight
        )
    content = Bundle(
        model=job.model,
        facts=facts,
        calibration=job.calibration,
        surrogate=job.surrogate,
        intervals=job.intervals,
        golden=_golden(job),
    )
    lake_version = Lake(settings).manifest().lake_version
    record.board(board, content.facts, lake_version)
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
    kept = board.to_dict() | {
        "version": version, "promoted": promoted, "promotion": why,
        "currency": setting.programme.currency,
    }  # fmt: skip
    kept["verdict"] = f"{kept['verdict']} {name} version {version}: {why}"
    record.card(
        card.made(
            kept, content.facts, job.model.kind, setting.programme,
            trained_at=trained_at, lake_version=lake_version, seed=setting.config.seed,
        )
    )  # fmt: skip
    record.kept(kept)
    return kept


def _golden(job: Job) -> Golden | None:
    """Return made-up members to ask the model about wherever it is loaded; churn only."""
    if job.shown is None or job.calibration is None:
        return None
    return Golden.of(job.model, job.calibration, job.shown)


def _named(candidates: tuple[Candidate, ...], name: str) -> Candidate:
    return next(candidate for candidate in candidates if candidate.name == name)


def _with_parts(candidates: tuple[Candidate, ...], name: str) -> tuple[Candidate, ...]:
    """Return what must be fitted to have the named one: itself, and what it is a mean of."""
    wanted = (name, *_named(candidates, name).parts)
    return tuple(candidate for candidate in candidates if candidate.name in wanted)


def checked_targets(targets: Sequence[str] | None) -> tuple[Target, ...]:
    """Return the named targets, or all; one that does not exist is refused."""
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
