"""Adapters: where rows come from. Each yields contract columns and knows nothing of the lake."""

from pathlib import Path

from features.sources.cdnow import Cdnow
from features.sources.completejourney import CompleteJourney
from features.sources.export import Export
from features.sources.mapping import read_mapping
from features.sources.staging import Source
from programme.errors import InputRefused


def open_source(what: list[str], mapping: Path | None) -> Source:
    """Return the adapter for what was named on the command line.

    Parameters
    ----------
    what : one of the known data sets, or paths of files
    mapping : the mapping of the files; data sets have none

    Raises
    ------
    InputRefused : if files come without a mapping or a data set comes with one.
    """
    known: dict[str, type[CompleteJourney] | type[Cdnow]] = {
        "completejourney": CompleteJourney,
        "cdnow": Cdnow,
    }
    if len(what) == 1 and what[0] in known:
        if mapping is not None:
            raise InputRefused(
                f"{what[0]} is a known data set and takes no --mapping. Nothing was read."
            )
        return known[what[0]]()
    if mapping is None:
        raise InputRefused(
            f"Nothing says what the columns of {', '.join(what)} mean. Nothing was read. Known "
            f"data sets are {' and '.join(known)}; for files give --mapping my.toml, explained "
            "in docs/how-to/map-your-data.md."
        )
    return Export([Path(one) for one in what], read_mapping(mapping))
