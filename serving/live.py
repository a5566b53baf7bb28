"""What the service answers from: loaded beside the event loop, replaced whole, never edited."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from programme.errors import NotReady, PerennialError
from programme.settings import Settings, open_programme

if TYPE_CHECKING:  # LightGBM, torch and MLflow are imported by the worker alone, in its thread
    from training.champions import Champions
    from training.population import Population

LOOK_EVERY_SECONDS = 3.0

# Below BentoML's own logger, so that it reaches the same lines of the same log.
logger = logging.getLogger("bentoml.perennial")


@dataclass(frozen=True, eq=False)
class Loaded:
    """The champions, and the members of one snapshot as they see them.

    `source` names every version that went in, so that an unchanged home is not loaded again.
    """

    champions: "Champions"
    population: "Population"
    source: tuple[object, ...]


class Live:
    """The champions in service, or the reason why there are none.

    A broken or missing champion keeps the last good one.
    """

    def __init__(self) -> None:
        self._loaded: Loaded | None = None
        self._reason = "The champions are being loaded. Ask again in a few seconds."
        self._stopped = threading.Event()

    @property
    def reason(self) -> str | None:
        """Return why nothing can be answered; None once it can."""
        return None if self._loaded else self._reason

    @property
    def loaded(self) -> Loaded:
        """Return what to answer from; read it once per request.

        Raises
        ------
        NotReady : with the reason, until the champions are loaded.
        """
        if self._loaded is None:
            raise NotReady(self._reason)
        return self._loaded

    def start(self, settings: Settings, on_loaded: Callable[[], None]) -> None:
        """Look for champions now and every few seconds, in a thread of its own.

        A service whose start fails is restarted for ever and leaves its callers hanging; this
        one starts at once and says what it waits for.
        """
        self._stopped.clear()
        threading.Thread(
            target=self._keep_looking, args=(settings, on_loaded), name="champions", daemon=True
        ).start()

    def stop(self) -> None:
        """Stop looking."""
        self._stopped.set()

    def refresh(self, settings: Settings) -> bool:
        """Load what the registry and the snapshots say now; return whether anything changed."""
        try:
            found = _load(settings, self._loaded.source if self._loaded else None)
        except PerennialError as error:
            self._refused(str(error))
            return False
        except Exception as error:  # a fault of ours must not end the thread that would mend it
            self._refused(
                f"The champions could not be loaded ({type(error).__name__}): see the log.", error
            )
            return False
        if found is None:
            return False
        self._loaded = found
        logger.info("answering from %s", ", ".join(str(part) for part in found.source))
        return True

    def _keep_looking(self, settings: Settings, on_loaded: Callable[[], None]) -> None:
        while not self._stopped.is_set():
            if self.refresh(settings):
                on_loaded()
            self._stopped.wait(LOOK_EVERY_SECONDS)

    def _refused(self, reason: str, fault: Exception | None = None) -> None:
        if reason != self._reason:  # once, not every few seconds
            kept = "; the last good champions stay in service" if self._loaded else ""
            logger.warning("not loaded%s: %s", kept, reason, exc_info=fault)
        self._reason = reason


def _load(settings: Settings, present: tuple[object, ...] | None) -> Loaded | None:
    """Load champions and snapshot; None if they are the ones already in service."""
    from features import snapshot as snapshots
    from training import registry
    from training.bundle import TARGETS
    from training.champions import Champions

    programme = open_programme(settings)
    names = [registry.name_of(target, programme) for target in TARGETS]
    versions = [(name, registry.champion_version(settings, name)) for name in names]
    snapshot = snapshots.latest(settings)
    source = (*(f"{name}/{version}" for name, version in versions if version), snapshot.path.name)
    if source == present:
        return None
    champions = Champions.load(settings)
    return Loaded(champions, champions.population(snapshot), source)
