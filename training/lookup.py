"""What an alias points at, and that version loaded: read without MLflow wherever that can be.

A service looks every second, and MLflow costs two seconds and 170 MB to import. Its database is
SQLite or PostgreSQL with three small tables for this; a server of MLflow's, or tables of another
shape, are asked through its client.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from sqlalchemy import RowMapping

from programme.errors import NotReady
from programme.settings import Programme, Settings
from training import bundle, registry_rows, sealed
from training.bundle import Bundle, ModelFacts, Target

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
# Keeps the digest of the bundle in the registry's database, out of reach of who writes files.
DIGEST_TAG = "bundle_sha256"
# The folder inside the logged model that holds everything the model is made of.
DATA_FOLDER = "perennial"

_VERSION = """
select v.name as name, v.version as version, v.source as source,
       v.storage_location as storage_location, t.value as digest
  from model_versions v
  left join model_version_tags t
    on t.workspace = v.workspace and t.name = v.name and t.version = v.version and t.key = :tag
 where v.workspace = 'default' and v.name = :name and v.current_stage <> 'Deleted_Internal'
"""
_BY_ALIAS = f"""{_VERSION}
   and v.version in (select a.version from registered_model_aliases a
                      where a.workspace = v.workspace and a.name = v.name and a.alias = :alias)
"""
_BY_NUMBER = f"{_VERSION} and v.version = :version"


class FeatureSetMismatch(NotReady):
    """A model that was trained on features this code does not compute."""


@dataclass(frozen=True)
class Version:
    """One version as the registry has it; nothing is loaded yet.

    Parameters
    ----------
    digest : vouches for its files; "none" if it was not registered by us
    location : the folder or address under which its files lie
    """

    name: str
    version: int
    digest: str
    location: str

    def __str__(self) -> str:
        """Return how people name it."""
        return f"{self.name}/{self.version}"


@dataclass(frozen=True, eq=False)
class RegisteredModel:
    """One version of a registered model, loaded."""

    name: str
    version: int
    bundle: Bundle


def name_of(target: Target, programme: Programme) -> str:
    """Return the registered name of a target in a programme, such as "churn_28d".

    The next order needs no horizon in its name: its answer is a date, and says how far it looks.
    """
    if target == "next_order":
        return target
    horizons = {"churn": programme.churn_horizon_days, "value": programme.value_horizon_days}
    return f"{target}_{horizons.get(target, programme.repeat_horizon_days)}d"


def find(settings: Settings, name: str, alias: str) -> Version | None:
    """Return the version an alias points at; None if it points at nothing, or there is none.

    Raises
    ------
    NotReady : if the registry is busy or away.
    RegistryFailed : if its database is damaged or is none.
    """
    return _asked(
        settings,
        _BY_ALIAS,
        {"name": name, "alias": alias},
        lambda client: client.get_model_version_by_alias(name, alias),
    )


class Aliases:
    """Versions that aliases point at, asked again only once the registry's file has changed."""

    def __init__(self) -> None:
        self._state: object = None
        self._found: dict[tuple[str, str], Version | None] = {}

    def find(self, settings: Settings, name: str, alias: str) -> Version | None:
        """Return what `find` returns, most times without opening the database."""
        state = registry_rows.state(settings.tracking_uri)
        if state is None or state != self._state:
            self._found.clear()
            self._state = state
        key = (name, alias)
        if key not in self._found:
            self._found[key] = find(settings, name, alias)
        return self._found[key]


def numbered(settings: Settings, name: str, version: int) -> Version | None:
    """Return a version by its number; None if there is none. Raises as `find`."""
    return _asked(
        settings,
        _BY_NUMBER,
        {"name": name, "version": version},
        lambda client: client.get_model_version(name, str(version)),
    )


def load(settings: Settings, found: Version) -> RegisteredModel:
    """Load a version, if its files, its features and its answers are the right ones.

    Raises
    ------
    NotReady : if its files cannot be read.
    ModelChanged : if a file is not the registered one.
    FeatureSetMismatch : if the columns it consumes are defined differently now.
    GoldenMissed : if it answers otherwise than when it was registered.
    """
    with tempfile.TemporaryDirectory() as place:
        files = _fetched(settings, found, Path(place) / "bundle")
        _require_features(found, bundle.read_facts(files, found.digest))
        content = bundle.read(files, found.digest)
    if content.golden is not None and content.calibration is not None:
        content.golden.check(content.model, content.calibration)
    return RegisteredModel(found.name, found.version, content)


def load_alias(settings: Settings, name: str, alias: str = CHAMPION) -> RegisteredModel:
    """Load the version an alias points at. Raises as `find` and `load`.

    Raises
    ------
    NotReady : if there is no such model or alias.
    """
    found = find(settings, name, alias)
    if found is None:
        raise NotReady(
            f"There is no {alias} of {name} in {settings.home}. No model was loaded. "
            f"Train one first: perennial train --home {settings.home}"
        )
    return load(settings, found)


def _asked(
    settings: Settings,
    statement: str,
    values: dict[str, object],
    by_client: Callable[[Any], Any],
) -> Version | None:
    rows = registry_rows.select(settings.tracking_uri, statement, {**values, "tag": DIGEST_TAG})
    if rows is None:
        return _asked_of_client(settings, by_client)
    return _version(rows[0]) if rows else None


def _version(row: RowMapping) -> Version:
    location = row["storage_location"] or row["source"] or ""
    return Version(row["name"], int(row["version"]), row["digest"] or "none", location)


def _asked_of_client(settings: Settings, question: Callable[[Any], Any]) -> Version | None:
    from mlflow.exceptions import MlflowException

    from training.tracking import connect

    client = connect(settings)
    try:
        found = question(client)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise NotReady(
            f"The registry at {registry_rows.said(settings.tracking_uri)} gave no answer "
            f"({error.error_code}). Nothing was loaded. Start it, or look at its log."
        ) from error
    location = client.get_model_version_download_uri(found.name, found.version)
    return Version(found.name, int(found.version), found.tags.get(DIGEST_TAG, "none"), location)


def _fetched(settings: Settings, found: Version, target: Path) -> Path:
    """Bring the files of a version here, never more than they declare."""
    folder = _folder(found.location)
    try:
        if folder is not None:
            if not (folder / DATA_FOLDER).is_dir():
                raise FileNotFoundError
            return sealed.copied(folder / DATA_FOLDER, found.digest, target)
        return _downloaded(settings, found, target)
    except OSError as error:
        fault = "they are gone" if isinstance(error, FileNotFoundError) else type(error).__name__
        raise NotReady(
            f"The files of {found} cannot be read ({fault}). It was not "
            f"loaded. Restore {settings.artifacts_dir}, roll back to another version, or train "
            "again."
        ) from error


def _folder(location: str) -> Path | None:
    """Return a location as a folder of this machine; None if it is an address elsewhere.

    Raises
    ------
    ModelChanged : if it steps outside the place it names.
    """
    parts = urlparse(location)
    if parts.scheme not in ("", "file"):
        return None
    path = Path(unquote(parts.path) if parts.scheme else location)
    if ".." in path.parts or not path.is_absolute() or "\0" in location:
        raise sealed.ModelChanged(
            f"The registry says that a model lies in {location!r}, which is no plain folder. "
            "Nothing was read or loaded. Roll back to another version, or train again."
        )
    return path


def _downloaded(settings: Settings, found: Version, target: Path) -> Path:
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    from training.tracking import connect

    connect(settings)
    target.mkdir(parents=True)

    def bring(name: str) -> Path:
        place = (target / name).parent
        place.mkdir(parents=True, exist_ok=True)
        source = f"{found.location.rstrip('/')}/{DATA_FOLDER}/{name}"
        return Path(download_artifacts(source, dst_path=str(place)))

    try:
        facts = sealed.facts_of(bring(sealed.FACTS_FILE), found.digest)
        for name in facts["files"]:
            bring(name)
    except MlflowException as error:
        raise OSError(str(error)) from error
    return target


def _require_features(found: Version, facts: ModelFacts) -> None:
    try:
        present = bundle.feature_set_of(facts.target, facts.columns, facts.n_weeks)
    except KeyError as error:
        present = f"nothing of the name {error}"
    if present != facts.feature_set:
        raise FeatureSetMismatch(
            f"{found} was trained on feature set {facts.feature_set} (commit "
            f"{facts.git_sha[:12]}); this code builds {present}. Its scores would be noise, so it "
            "was not loaded. Retrain with: perennial train, or run the code of that commit."
        )
