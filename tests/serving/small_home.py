"""A home small enough to be made in a moment: members in the online store, and churn rules."""

import json
import shutil
import sqlite3
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import insert

from programme.database import Database
from programme.settings import PROGRAMME_FILE, Programme, Settings
from serving.online.store import NUMBERS, OnlineStore, StoredMember
from serving.online.tables import PUBLICATIONS
from training import registry
from training.bundle import Bundle, facts_of
from training.golden import Golden
from training.lookup import name_of
from training.models.calibration import PlattCalibration
from training.models.rules import ColumnRule
from training.percentiles import thresholds
from training.tracking import connect, experiment

PROGRAMME = Programme(name="corner", timezone="Europe/Berlin", currency="EUR")
NAME = name_of("churn", PROGRAMME)
AS_OF = date(2024, 9, 2)
NOW = datetime(2024, 9, 1, 20, tzinfo=UTC)
N_MEMBERS = 100
CALIBRATION = PlattCalibration(slope=1.2, intercept=-0.1)


def member(number: int) -> NDArray[np.float64]:
    """Return the numbers of a member as the store keeps them; every seventh has few."""
    rng = np.random.default_rng(number)
    numbers = rng.uniform(0, 400, len(NUMBERS))
    numbers[rng.uniform(size=len(NUMBERS)) < (0.9 if number % 7 == 0 else 0.1)] = np.nan
    return numbers


def members() -> NDArray[np.float64]:
    return np.stack([member(number) for number in range(N_MEMBERS)])


def rule(shift: float = 0.0) -> ColumnRule:
    """Return a fitted rule on recency; each shift is a version of its own."""
    days = pd.DataFrame({"recency_days": [1.0, 5.0, 20.0, 60.0, 90.0, 200.0]})
    fitted = ColumnRule("recency_days", 1).fit(days, np.array([0, 0, 1, 0, 1, 1]))
    fitted.intercept_ += shift
    return fitted


def bundle(model: Any, *, golden: bool = True) -> Bundle:
    facts = facts_of(model, "churn", 28, data_window=(date(2024, 1, 1), AS_OF), git_sha="0" * 40)
    made = Bundle(model, facts, calibration=CALIBRATION)
    if not golden:
        return made
    rows = pd.DataFrame(members(), columns=list(NUMBERS))
    return replace(made, golden=Golden.of(model, CALIBRATION, rows))


def expected(shift: float, rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what a version answers, by its own arithmetic."""
    raw = rule(shift).raw_score(pd.DataFrame(rows, columns=list(NUMBERS)))
    return CALIBRATION.apply(raw)


@dataclass(frozen=True)
class SmallHome:
    settings: Settings

    def found(self) -> None:
        """Make it a programme."""
        self.settings.home.mkdir(parents=True, exist_ok=True)
        (self.settings.home / PROGRAMME_FILE).write_text(PROGRAMME.as_toml())

    def registered(self, content: Bundle) -> int:
        run = connect(self.settings).create_run(experiment(self.settings, NAME))
        return registry.register(self.settings, NAME, content, run_id=run.info.run_id)

    def promoted(self, content: Bundle) -> int:
        version = self.registered(content)
        present = registry.champion_version(self.settings, NAME)
        registry.promote(self.settings, NAME, version, expected=present)
        return version

    def point(self, version: int, alias: str = registry.CHAMPION) -> None:
        """Move an alias as somebody with MLflow's own page would: nothing is looked at."""
        connect(self.settings).set_registered_model_alias(NAME, alias, str(version))

    def publish(self, rows: NDArray[np.float64] | None = None, feature_set: str = "") -> None:
        """Write everybody, and that everybody was written."""
        rows = members() if rows is None else rows
        database = Database.open(self.settings)
        store = OnlineStore(database, feature_set) if feature_set else OnlineStore(database)
        written = [
            StoredMember(
                member_id=f"m{number:03d}", as_of=AS_OF, data_as_of=NOW, population="active",
                features=row, texts={}, scores={}, traits={}, snapshot="s", updated_at=NOW,
            )
            for number, row in enumerate(rows)
        ]  # fmt: skip
        marks = thresholds(expected(0.0, rows))
        database.write(lambda connection: store.write(connection, written))
        database.write(
            lambda connection: connection.execute(
                insert(PUBLICATIONS).values(
                    snapshot="s", as_of=AS_OF, champions=json.dumps({NAME: 1, "value_91d": 4}),
                    percentiles=json.dumps({"churn": marks, "value": marks}), members=len(rows),
                    published_at=NOW,
                )
            )
        )  # fmt: skip
        database.close()

    def files(self, version: int) -> Path:
        """Return the folder a version's files lie in."""
        found = connect(self.settings).get_model_version_download_uri(NAME, str(version))
        return Path(found) / "perennial"

    def copied_to(self, home: Path) -> "SmallHome":
        """Return a copy that shares no file with this one."""
        shutil.copytree(self.settings.home, home, dirs_exist_ok=True)
        with sqlite3.connect(home / "mlflow.db") as registry_:
            for table, column in (
                ("model_versions", "storage_location"),
                ("logged_models", "artifact_location"),
                ("experiments", "artifact_location"),
                ("runs", "artifact_uri"),
            ):
                registry_.execute(
                    f"update {table} set {column} = replace({column}, ?, ?)",
                    (str(self.settings.home), str(home)),
                )
        registry_.close()
        return SmallHome(self.settings.model_copy(update={"home": home}))


def served(mlflow_template: Path, home: Path) -> SmallHome:
    """Make a home whose churn is a rule, version 1, with everybody written."""
    made = SmallHome(Settings(home=home, threads=1))
    made.found()
    shutil.copy(mlflow_template, home / "mlflow.db")
    made.promoted(bundle(rule()))
    made.publish()
    return made
