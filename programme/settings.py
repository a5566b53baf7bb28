"""What one programme is and where this installation keeps it."""

import json
import os
import tomllib
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from programme import calendar
from programme.errors import InputRefused, NotReady
from programme.faults import in_words
from programme.files import write_durably

ENV_PREFIX = "PERENNIAL_"
PROGRAMME_FILE = "perennial.toml"

WholeWeeks = Annotated[int, Field(gt=0, multiple_of=calendar.DAYS_PER_WEEK)]


class Programme(BaseModel):
    """One loyalty programme: the facts that are fixed when its first rows come in."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: Annotated[str, Field(min_length=1, max_length=64)]
    timezone: str
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    languages: tuple[str, ...] = ("en", "zh")
    churn_horizon_days: WholeWeeks = 28
    value_horizon_days: WholeWeeks = 91
    repeat_horizon_days: WholeWeeks = 28
    active_days: WholeWeeks = 56
    points_scale: Annotated[int, Field(ge=0, le=4)] = 0

    @field_validator("timezone")
    @classmethod
    def _timezone_exists(cls, name: str) -> str:
        try:
            calendar.zone(name)
        except InputRefused as error:
            raise ValueError(f"there is no timezone {name!r}; use an IANA name") from error
        return name

    def as_toml(self) -> str:
        """Return the text kept in the home."""
        lines = ["# Fixed at first ingest: features and scores already made depend on these."]
        for key, value in self.model_dump().items():
            if isinstance(value, tuple):
                lines.append(f"{key} = [{', '.join(_toml_text(item) for item in value)}]")
            else:
                lines.append(f"{key} = {_toml_text(value) if isinstance(value, str) else value}")
        return "\n".join(lines) + "\n"


class Settings(BaseSettings):
    """Where the home is and what the machine may spend; read once, never changed.

    Every field can be given as an environment variable, `PERENNIAL_HOME` for `home`.
    A variable that starts with PERENNIAL_ and names no field is an error.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        # An empty PERENNIAL_HOME would otherwise be the folder one happens to stand in.
        env_ignore_empty=True,
    )

    home: Path = Path("var/programme")
    mlflow_uri: str = ""
    db_url: str = ""
    threads: Annotated[int, Field(ge=1, le=512)] = 2
    memory_limit_mb: Annotated[int, Field(ge=256)] = 3000
    # Kafka as a source: host:port of brokers, topics that hold purchases or events, consumer group.
    kafka_brokers: str = ""
    kafka_topics: str = "purchases=purchase,events=event"
    kafka_group: str = "perennial"
    # Whether callers on the machine itself need a key too: say yes behind a proxy on it.
    require_keys: bool = False
    # How often a service asks the registry and the online store whether something is new.
    poll_seconds: Annotated[float, Field(ge=0.05, le=60)] = 1.0
    # Of the members a service answers about, those its challenger is asked about too.
    shadow_share: Annotated[float, Field(ge=0, le=1)] = 0.1
    # Whether a service leaves the refresh worker to somebody else.
    no_worker: bool = False
    # How long a service that was told to end says so before it takes nobody in any more.
    drain_notice_seconds: Annotated[float, Field(ge=0, le=60)] = 1.0

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().resolve()

    @classmethod
    def load(cls, home: Path | None = None) -> Self:
        """Read the environment; `home`, where given, wins over PERENNIAL_HOME.

        Raises
        ------
        InputRefused : on an unknown PERENNIAL_ variable or a value out of range.
        """
        known = {f"{ENV_PREFIX}{name}".upper() for name in cls.model_fields}
        unknown = sorted(
            key for key in os.environ if key.startswith(ENV_PREFIX) and key not in known
        )
        if unknown:
            raise InputRefused(
                f"The environment sets {', '.join(unknown)}, which Perennial does not know. "
                f"Nothing was done. Known are {', '.join(sorted(known))}."
            )
        try:
            return cls(home=home) if home is not None else cls()
        except ValidationError as error:
            raise InputRefused(f"{_first_fault(error, 'settings')} Nothing was done.") from error

    @property
    def tracking_uri(self) -> str:
        """Return the address of MLflow's database, absolute."""
        return self.mlflow_uri or f"sqlite:///{self.home / 'mlflow.db'}"

    @property
    def database_url(self) -> str:
        """Return the address of the one SQL database: points, and what commits with them."""
        return self.db_url or f"sqlite:///{self.home / 'programme.db'}"

    @property
    def artifacts_dir(self) -> Path:
        """Return the folder in which MLflow keeps model files."""
        return self.home / "mlartifacts"


def read_programme(path: Path) -> Programme:
    """Read a programme from TOML.

    Raises
    ------
    InputRefused : if the file is not TOML or has an unknown or impossible key.
    """
    try:
        return Programme.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputRefused(f"{path} is not TOML: {error}. Nothing was done.") from error
    except ValidationError as error:
        raise InputRefused(f"{_first_fault(error, str(path))} Nothing was done.") from error


def open_programme(settings: Settings) -> Programme:
    """Return the programme of the home.

    Raises
    ------
    NotReady : if nothing was ever ingested there.
    """
    path = settings.home / PROGRAMME_FILE
    if not path.exists():
        raise NotReady(
            f"{settings.home} holds no programme yet ({PROGRAMME_FILE} is absent). Nothing was "
            "done. Ingest something first, for example: "
            f"perennial ingest completejourney --home {settings.home}"
        )
    return read_programme(path)


def found_programme(settings: Settings, wanted: Programme) -> Programme:
    """Fix the programme at first ingest; afterwards refuse a source that differs.

    Raises
    ------
    InputRefused : if the home already holds a programme with other facts.
    """
    path = settings.home / PROGRAMME_FILE
    if not path.exists():
        write_durably(path, wanted.as_toml().encode())
        return wanted
    present = read_programme(path)
    # A fact the source does not state is the home's to decide.
    for fact in sorted(wanted.model_fields_set):
        there, here = getattr(present, fact), getattr(wanted, fact)
        if there != here:
            raise InputRefused(
                f"{settings.home} is the programme {present.name!r} with {fact} {there!r}; this "
                f"source declares {here!r}. One home holds one programme, so nothing was "
                "ingested. Use another --home, or correct the source's mapping."
            )
    return present


def _toml_text(value: object) -> str:
    # JSON escapes what TOML forbids in text, but for one control character.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _first_fault(error: ValidationError, where: str) -> str:
    fault = error.errors(include_input=False, include_url=False)[0]
    key = ".".join(str(part) for part in fault["loc"]) or "the file"
    if fault["type"] == "extra_forbidden":
        return f"{where}: there is no key {key!r}."
    return f"{where}: {key}: {in_words(fault)}."
