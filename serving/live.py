"""What the service answers from: loaded beside the event loop, checked, replaced whole.

A thread asks the registry which churn model is champion, and the online store when everybody was
last written. Whatever is new is loaded and held against golden rows before one reference is
replaced; whatever is broken, missing or away leaves the last good one in place, and says so.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from programme.errors import NotReady, PerennialError
from programme.settings import Programme, Settings, open_programme
from serving.shadow import Shadow

if TYPE_CHECKING:  # LightGBM and what reads models are imported by the worker alone, in its thread
    import numpy as np
    from numpy.typing import NDArray

    from serving.golden import Checked
    from serving.hot import ChurnScorer
    from serving.online.store import Publication
    from serving.store_watch import StoreWatch
    from training.lookup import Aliases, RegisteredModel, Version

# A version that was refused is tried again after so long: its files may have been restored.
AGAIN_SECONDS = 30.0

Found = TypeVar("Found")

# Below BentoML's own logger, so that it reaches the same lines of the same log.
logger = logging.getLogger("bentoml.perennial")


@dataclass(frozen=True, eq=False)
class Loaded:
    """A churn champion and the last publication: what one answer is made from, never edited.

    Parameters
    ----------
    scorer : None if the champion cannot be asked from a row of the store alone; the churn that
        was worked out when the store was filled is answered then
    checked : what the champion was held against before it came here
    source : names every version that went in
    since : UTC; when this champion was taken up
    """

    programme: Programme
    version: "Version"
    model: "RegisteredModel"
    scorer: "ChurnScorer | None"
    publication: "Publication"
    checked: "Checked"
    source: tuple[str, ...]
    since: datetime


@dataclass
class Counts:
    """How often things went which way since the start."""

    swaps: int = 0
    refused: int = 0
    looks: int = 0
    looked_at: float = field(default_factory=time.monotonic)


class Live:
    """The champion in service, or the reason why there is none."""

    def __init__(self) -> None:
        self._loaded: Loaded | None = None
        self._reason = "The champions are being loaded. Ask again in a few seconds."
        self._trouble: dict[str, str] = {}
        self._watch: StoreWatch | None = None
        self._aliases: Aliases | None = None
        self._challenger: Version | None = None
        # When a version that was refused under an alias is looked at again.
        self._again_at: dict[tuple[str, Version], float] = {}
        self._looking = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self.shadow = Shadow()
        self.counts = Counts()

    @property
    def reason(self) -> str | None:
        """Return why nothing can be answered; None once it can."""
        return None if self._loaded else self._reason

    @property
    def loaded(self) -> Loaded:
        """Return what to answer from; read it once per request.

        Raises
        ------
        NotReady : with the reason, until a champion is loaded.
        """
        found = self._loaded
        if found is None:
            raise NotReady(self._reason)
        return found

    @property
    def trouble(self) -> Mapping[str, str]:
        """Return what is wrong while the last good champion stays, by what it is about."""
        return self._trouble

    def facts(self) -> dict[str, Any]:
        """Return what readiness says once there is a champion.

        Raises
        ------
        NotReady : with the reason, until there is.
        """
        found = self.loaded
        challenger = self.shadow.challenger
        return {
            "ready": True,
            "answering_from": list(found.source),
            "checked_on": found.checked,
            "since": found.since.isoformat(),
            "challenger": f"{challenger[0]}/{challenger[1]}" if challenger else None,
            "trouble": dict(self._trouble),
        }

    def shadow_report(self) -> list[dict[str, Any]]:
        """Return what the challenger would have said, one entry per pair of versions."""
        return self.shadow.report()

    def start(self, settings: Settings, on_loaded: Callable[[], None]) -> None:
        """Look now and every `settings.poll_seconds`, in a thread of its own.

        A service whose start fails is restarted for ever and leaves its callers hanging; this
        one starts at once and says what it waits for. `on_loaded` is called in that thread after
        a model was taken up.
        """
        self._stopped.clear()
        self.shadow.start(settings, _now)
        self._thread = threading.Thread(
            target=self._keep_looking, args=(settings, on_loaded), name="champions", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop looking, and give back connections."""
        self._stopped.set()
        self.shadow.stop()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(5.0)
        with self._looking:
            if self._watch is not None:
                self._watch.close()
                self._watch = None

    def refresh(self, settings: Settings) -> bool:
        """Look now, at what was refused before too; return whether anything changed."""
        self._again_at.clear()
        self._aliases = None
        return self._look(settings)

    def _keep_looking(self, settings: Settings, on_loaded: Callable[[], None]) -> None:
        while not self._stopped.is_set():
            before = self._loaded
            if self._look(settings) and (before is None or before.model is not self.loaded.model):
                on_loaded()
            self._stopped.wait(settings.poll_seconds)

    def _look(self, settings: Settings) -> bool:
        with self._looking:
            changed = False
            try:
                changed = self._replace(settings)
            except Exception as error:  # a fault of ours must not end the thread that mends it
                self._refused("champion", error)
            try:
                self._follow_challenger(settings)
            except Exception as error:
                self._rest()
                self._refused("challenger", error)
            self.counts.looks += 1
            self.counts.looked_at = time.monotonic()
            return changed

    def _replace(self, settings: Settings) -> bool:
        from serving.store_watch import StoreWatch

        present = self._loaded
        programme = open_programme(settings)
        version = self._or_last(
            "registry",
            lambda: self._champion(settings, programme),
            present.version if present else None,
        )
        if self._watch is None:
            self._watch = StoreWatch(settings)
        watch = self._watch
        publication = self._or_last(
            "online store", watch.publication, present.publication if present else None
        )
        if present is not None and _is_same(publication, present.publication):
            publication = present.publication
        if present is not None and version == present.version:
            self._trouble.pop("champion", None)
            if publication is present.publication:
                return False
            self._loaded = _republished(present, publication)
        else:
            if not self._may_try("champion", version):
                return False
            if present is not None and publication is not present.publication:
                self._loaded = _republished(present, publication)
            self._loaded = self._taken_up(settings, programme, version, publication, watch)
        self._reason = ""
        logger.info("answering from %s", ", ".join(self._loaded.source))
        return True

    def _taken_up(
        self,
        settings: Settings,
        programme: Programme,
        version: "Version",
        publication: "Publication",
        watch: "StoreWatch",
    ) -> Loaded:
        """Load a candidate and let it show what it says; nothing is replaced before it has."""
        from training import lookup

        stored = watch.sample()
        try:
            model = lookup.load(settings, version)
            scorer, checked = _checked(model, publication, stored)
        except Exception:
            self.counts.refused += 1
            self._again_at["champion", version] = time.monotonic() + AGAIN_SECONDS
            raise
        self.counts.swaps += 1
        self._trouble.pop("champion", None)
        if checked != "golden rows":
            logger.warning("%s has no golden rows: only %s were checked", version, checked)
        return Loaded(
            programme, version, model, scorer, publication, checked,
            _source(version, publication), _now(),
        )  # fmt: skip

    def _champion(self, settings: Settings, programme: Programme) -> "Version":
        from training import lookup

        name = lookup.name_of("churn", programme)
        found = self._asked(settings, name, lookup.CHAMPION)
        if found is None:
            raise NotReady(
                f"The registry names no champion of {name}. Nothing was loaded. "
                f"Train one: perennial train --home {settings.home}"
            )
        return found

    def _asked(self, settings: Settings, name: str, alias: str) -> "Version | None":
        from training.lookup import Aliases

        if self._aliases is None:
            self._aliases = Aliases()
        return self._aliases.find(settings, name, alias)

    def _follow_challenger(self, settings: Settings) -> None:
        from training import lookup

        loaded, watch = self._loaded, self._watch
        if loaded is None or watch is None or not settings.shadow_share:
            return
        name = loaded.version.name
        version = self._asked(settings, name, lookup.CHALLENGER)
        if version is None or version.version == loaded.version.version:
            self._rest()
            self._trouble.pop("challenger", None)
            return
        if version == self._challenger or not self._may_try("challenger", version):
            return
        self._again_at["challenger", version] = time.monotonic() + AGAIN_SECONDS
        model = lookup.load(settings, version)
        scorer, _ = _checked(model, loaded.publication, watch.sample())
        if scorer is None:
            raise NotReady(f"{version} cannot be asked from one row, so it is not compared.")
        self.shadow.follow(name, version.version, scorer)
        self._challenger = version
        self._trouble.pop("challenger", None)
        logger.info("the challenger %s is asked about a share of the members", version)

    def _rest(self) -> None:
        self._challenger = None
        self.shadow.rest()

    def _may_try(self, alias: str, version: "Version") -> bool:
        return self._again_at.get((alias, version), 0.0) <= time.monotonic()

    def _or_last(self, what: str, look: Callable[[], Found], last: Found | None) -> Found:
        """Look, or keep what was found last; without that, the reason is raised."""
        try:
            found = look()
        except Exception as error:
            if last is None:
                raise
            self._refused(what, error)
            return last
        self._trouble.pop(what, None)
        return found

    def _refused(self, what: str, error: Exception) -> None:
        ours = isinstance(error, PerennialError)
        reason = (
            str(error)
            if ours
            else f"The {what} could not be loaded ({type(error).__name__}): see the log."
        )
        if reason not in (self._trouble.get(what), self._reason):  # once, not every second
            kept = "; the last good champion stays in service" if self._loaded else ""
            logger.warning("%s: not loaded%s: %s", what, kept, reason, exc_info=not ours)
        if self._loaded is None:
            self._reason = reason
        else:
            self._trouble[what] = reason


def _checked(
    model: "RegisteredModel", publication: "Publication", stored: "NDArray[np.float64]"
) -> "tuple[ChurnScorer | None, Checked]":
    from serving.golden import check
    from serving.hot import ChurnScorer, NotFromRow

    try:
        scorer = ChurnScorer.of(model, publication.percentiles["churn"])
    except NotFromRow as error:
        logger.warning("%s", error)
        return None, "finite scores only"
    return scorer, check(scorer, model, stored)


def _republished(present: Loaded, publication: "Publication") -> Loaded:
    """Return the same champion among the members as they were last written."""
    from serving.hot import ChurnScorer

    scorer = present.scorer and ChurnScorer.of(present.model, publication.percentiles["churn"])
    source = _source(present.version, publication)
    return replace(present, scorer=scorer, publication=publication, source=source)


def _is_same(one: "Publication", other: "Publication") -> bool:
    # A database that was replaced counts from 1 again.
    return (one.publication_no, one.published_at) == (other.publication_no, other.published_at)


def _source(version: "Version", publication: "Publication") -> tuple[str, ...]:
    others = {
        f"{name}/{number}" for name, number in publication.champions.items() if name != version.name
    }
    return (str(version), *sorted(others), f"publication {publication.publication_no}")


def _now() -> datetime:
    return datetime.now(UTC)
