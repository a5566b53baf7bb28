"""How the versions that aliases point at were judged, as the registry remembers it.

Like `training.lookup` it reads MLflow's own tables where they can be read, and asks its client
where they cannot.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal, get_args

from programme.settings import Programme, Settings
from training import lookup, registry_rows
from training.bundle import TARGETS
from training.lookup import name_of

Alias = Literal["champion", "challenger", "previous"]
ALIASES: tuple[Alias, ...] = get_args(Alias)
_POINTED = """
select a.alias as alias, v.name as name, v.version as version, v.run_id as run_id,
       r.start_time as started_ms
  from registered_model_aliases a
  join model_versions v
    on v.workspace = a.workspace and v.name = a.name and v.version = a.version
  left join runs r on r.run_uuid = v.run_id
 where a.workspace = 'default'
"""
_RUNS = f"select run_id from ({_POINTED}) as pointed"
_PARAMS = f"select run_uuid as run_id, key, value from params where run_uuid in ({_RUNS})"
# Of the figures of every rival, those of the headline members are what a version is judged by.
_METRICS = f"""
select run_uuid as run_id, key, value from latest_metrics
 where run_uuid in ({_RUNS}) and not is_nan
   and (key like 'skill%' or key like 'active/%' or key like 'all/%')
"""


@dataclass(frozen=True)
class Judged:
    """A version an alias points at.

    Parameters
    ----------
    params : what its job wrote down: `grade`, `served`, `feature_set`, `data_window`
    metrics : `skill`, `skill_low`, `skill_high`, and its figures on the headline members by name
    """

    name: str
    target: str
    alias: Alias
    version: int
    trained_at: datetime | None
    params: Mapping[str, str]
    metrics: Mapping[str, float]


def every(settings: Settings, programme: Programme) -> list[Judged]:
    """Return the versions that have an alias, by target, the champion first.

    Raises
    ------
    NotReady : if the registry is busy or away.
    """
    targets = {name_of(target, programme): target for target in TARGETS}
    asked = partial(registry_rows.select, settings.tracking_uri)
    pointed = asked(_POINTED)
    if pointed is None:
        return _ordered(_by_client(settings, targets), targets)
    params = _grouped(asked(_PARAMS) or ())
    metrics = _grouped(asked(_METRICS) or ())
    found = [
        _judged(row, targets[row["name"]], params.get(row["run_id"], {}),
                metrics.get(row["run_id"], {}))
        for row in pointed
        if row["name"] in targets and row["alias"] in ALIASES
    ]  # fmt: skip
    return _ordered(found, targets)


def _judged(
    row: Mapping[Any, Any], target: str, params: Mapping[str, str], metrics: Mapping[str, float]
) -> Judged:
    own = {f"{who}/{params.get('served')}/": None for who in ("active", "all")}
    figures = {name: value for name, value in metrics.items() if name.startswith("skill")}
    for name, value in metrics.items():
        for prefix in own:
            if name.startswith(prefix):
                figures[name.removeprefix(prefix)] = value
    started = row["started_ms"]
    return Judged(
        row["name"], target, row["alias"], int(row["version"]),
        datetime.fromtimestamp(started / 1000, UTC) if started else None, params,
        {name: float(value) for name, value in figures.items() if math.isfinite(value)},
    )  # fmt: skip


def _grouped(rows: Iterable[Mapping[Any, Any]]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        found.setdefault(row["run_id"], {})[row["key"]] = row["value"]
    return found


def _ordered(found: list[Judged], targets: Mapping[str, str]) -> list[Judged]:
    places = list(targets)
    return sorted(found, key=lambda one: (places.index(one.name), ALIASES.index(one.alias)))


def _by_client(settings: Settings, targets: Mapping[str, str]) -> list[Judged]:
    from training.tracking import connect

    client, found = connect(settings), []
    for name, target in targets.items():
        for alias in ALIASES:
            version = lookup.find(settings, name, alias)
            if version is None:
                continue
            run_id = client.get_model_version(name, str(version.version)).run_id
            row: dict[str, Any] = {
                "name": name, "alias": alias, "version": version.version, "started_ms": None,
            }  # fmt: skip
            params: Mapping[str, str] = {}
            metrics: Mapping[str, float] = {}
            if run_id:
                run = client.get_run(run_id)
                row["started_ms"], params, metrics = (
                    run.info.start_time, run.data.params, run.data.metrics,
                )  # fmt: skip
            found.append(_judged(row, target, params, metrics))
    return found
