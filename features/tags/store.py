"""The tags of one snapshot, as immutable Parquet beside it, and the chain of days behind them."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from threading import get_ident
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features import engine, identities, snapshot
from features.carried import carried
from features.lake import Lake
from features.snapshot import Snapshot
from features.tags import columns, compiled, goods, habits, rules
from features.tags.catalogue import Catalogue, describe
from features.tags.compiled import Sources
from features.tags.declared import Tag
from features.tags.rules import Rules, definition
from programme.errors import InputRefused
from programme.files import sha256_of, sync_file, sync_folder, write_json
from programme.settings import Settings

HELD, FACTS, META = "tags.parquet", "facts.parquet", "meta.json"
# In the meta: each tag as it was declared, for whoever tells of them without the catalogue.
DECLARED = "declared"
# Bump when the SQL around the rules changes what a tag means.
FORMAT = 3
# Kept of every member, so that the facts are never empty.
_RECENCY = columns.find("recency_days", frozenset(), "the table of facts")


@dataclass(frozen=True)
class Tagged:
    """Who holds which tag at one day; its files never change.

    `tags.parquet` has one row a member and one column a tag: the day since which she holds it.
    `facts.parquet` has the columns the rules read, as they were.
    """

    path: Path
    as_of: date
    rules: Rules

    @property
    def meta(self) -> dict[str, Any]:
        """Return what was written down about the making."""
        content: dict[str, Any] = json.loads((self.path / META).read_text("utf-8"))
        return content

    def wide(self) -> pd.DataFrame:
        """Return one row per member, indexed by member_id: the day since, or NaT."""
        return pd.read_parquet(self.path / HELD).set_index("member_id")

    def held_sql(self) -> str:
        """Return a SELECT of member_id, tag and since, ordered, one row per tag held."""
        listed = ", ".join(engine.name(tag.id) for tag in self.rules.tags)
        file = engine.text(self.path / HELD)
        if not listed:
            return (
                "select member_id, cast(null as varchar) as tag, cast(null as date) as since "
                f"from read_parquet({file}) where false"
            )
        return (
            f"select member_id, tag, since from (unpivot (select * from read_parquet({file})) "
            f"on {listed} into name tag value since) order by member_id, tag"
        )


def build(
    settings: Settings,
    as_of: date,
    progress: Callable[[str], None] = lambda _: None,
    *,
    segments: Path | None = None,
    sensitive: bool | None = None,
    earlier: Tagged | None = None,
    chained: bool = True,
) -> Tagged:
    """Return the tags of `as_of`, made if they are not there.

    Parameters
    ----------
    segments : Parquet file of the members' segments; without it tags that read them are absent
    sensitive : whether sensitive tags are on; None: as the programme's tags.toml says
    earlier : the tags whose state decides between enter and exit; None: the newest of an
        earlier day, where `chained`
    progress : told what is being done

    Raises
    ------
    NotReady : nothing was ingested
    InputRefused : a rule is wrong, or nothing was known before `as_of`
    """
    declared = rules.read(settings.home)
    # A wrong rule is refused before anything is computed.
    declared.expand(None, sensitive)
    if segments is not None:
        _refuse_no_segments(segments)
    taken = snapshot.build(settings, as_of, progress)
    made = _Making(settings, taken, segments, progress)
    with made.opened() as catalogue:
        every = declared.expand(catalogue, sensitive)
        ours = every.from_sources(
            "features", "habits", "goods", *(["segments"] if segments else [])
        )
        ours = ours.of_data(made.carried())
        if chained and earlier is None:
            earlier = newest(settings, before=as_of, rules=ours)
        return made.tagged(ours, catalogue, earlier)


def newest(settings: Settings, rules: Rules, before: date | None = None) -> Tagged | None:
    """Return the newest finished tags, of an earlier day where `before` is given."""
    found = []
    # A name that begins with a dot is one that is not finished.
    for meta in (settings.home / "tags").glob(f"*/[!.]*/{META}"):
        day = date.fromisoformat(meta.parents[1].name.split("_")[0])
        if before is None or day < before:
            content = json.loads(meta.read_text("utf-8"))
            found.append(((day, content["lake_version"], content["chain"], meta.parent.name), meta))
    if not found:
        return None
    meta = max(found)[1]
    return Tagged(meta.parent, max(found)[0][0], rules)


@dataclass
class _Making:
    """The tags of one snapshot in the making."""

    settings: Settings
    snapshot: Snapshot
    segments: Path | None
    progress: Callable[[str], None]

    @contextmanager
    def opened(self) -> Iterator[Catalogue]:
        """Open the engine with the snapshot's relations; yield what its categories are."""
        lake = Lake(self.settings)
        manifest = lake.manifest().up_to(self.snapshot.lake_version)
        with self.snapshot.prepared() as connection:
            self.connection: duckdb.DuckDBPyConnection = connection
            self.progress("matching categories with kinds of goods")
            kinds = rules.read(self.settings.home).goods
            yield describe(connection, lake, manifest, self._midnight, kinds)

    def carried(self) -> frozenset[str]:
        """Return the tables and facts of which something was known; ask while it is open."""
        lake = Lake(self.settings)
        return frozenset(self.snapshot.reference.tables) | carried(
            self.connection, lake, lake.manifest().up_to(self.snapshot.lake_version),
            self.snapshot.as_of, self._midnight,
        )  # fmt: skip

    @property
    def _midnight(self) -> str:
        return identities.midnight_sql(self.snapshot.as_of, self.snapshot.programme.timezone)

    def tagged(self, ours: Rules, catalogue: Catalogue, earlier: Tagged | None) -> Tagged:
        """Return the tags, made unless they are there."""
        folder = self.settings.home / "tags" / self.snapshot.path.name
        made_of = {
            "rules": ours.digest,
            "format": FORMAT,
            "segments": sha256_of(self.segments) if self.segments else None,
            "earlier": str(earlier.path.relative_to(self.settings.home / "tags"))
            if earlier
            else None,
        }
        name = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:16]
        done = Tagged(folder / name, self.snapshot.as_of, ours)
        if not (done.path / META).exists():
            self._write(done, ours, catalogue, earlier, made_of)
        return done

    def _write(
        self,
        done: Tagged,
        ours: Rules,
        catalogue: Catalogue,
        earlier: Tagged | None,
        made_of: dict[str, Any],
    ) -> None:
        unfinished = done.path.with_name(
            f".{done.path.name}.{os.getpid()}-{get_ident()}.unfinished"
        )
        shutil.rmtree(unfinished, ignore_errors=True)
        self._facts(ours, catalogue, unfinished / FACTS)
        facts = f"select * from read_parquet({engine.text(unfinished / FACTS)})"
        trusted = _trusted(ours.tags, earlier)
        self.connection.execute(
            f"create or replace temp table tag_facts as {_with_earlier(facts, earlier, trusted)}"
        )
        self.progress("measuring the programme's quantiles")
        measured = compiled.quantiles(self.connection, ours.tags, "tag_facts")
        day = f"date {engine.text(self.snapshot.as_of)}"
        self.progress(f"deciding {len(ours.tags)} tags")
        sql = compiled.select_sql(ours.tags, measured, "tag_facts", day, trusted)
        members = engine.copy_to_parquet(self.connection, sql, unfinished / HELD)
        for file in (HELD, FACTS):
            sync_file(unfinished / file)
        write_json(
            unfinished / META,
            {
                "as_of": self.snapshot.as_of,
                "lake_version": self.snapshot.lake_version,
                "members": members,
                "chain": 0 if earlier is None else earlier.meta["chain"] + 1,
                **made_of,
                "goods_fit": catalogue.fit,
                "absent": {**ours.absent, **compiled.unjudged(ours.tags, measured)},
                DECLARED: {tag.id: tag.model_dump(mode="json") for tag in ours.tags},
                "definitions": {tag.id: _digest(tag) for tag in ours.tags},
                "quantiles": [
                    {**vars(quantile), "value": value} for quantile, value in measured.items()
                ],
            },
        )
        try:
            unfinished.rename(done.path)
        except OSError:
            # Another process finished the same tags first; theirs are equal, ours go.
            shutil.rmtree(unfinished)
            if not (done.path / META).exists():
                raise
        sync_folder(done.path.parent)

    def _facts(self, ours: Rules, catalogue: Catalogue, path: Path) -> None:
        """Write every column the rules read, one row a member."""
        reads = {c.name: c for tag in ours.tags for c in ours.reads[tag.id]}
        reads.setdefault(_RECENCY.name, _RECENCY)
        needed = {habits.COLUMNS[c.local][0].name for c in reads.values() if c.source == "habits"}
        day = f"date {engine.text(self.snapshot.as_of)}"
        for group in habits.GROUPS:
            if group.name in needed:
                self.progress(f"computing {group.name}")
                sql = group.sql.replace("{as_of}", day)
                self.connection.execute(f"create or replace temp table {group.name} as {sql}")
        kinds = sorted(c.local for c in reads.values() if c.source == "goods")
        wanted = tuple((kind.rpartition(".")[0], kind.rpartition(".")[2]) for kind in kinds)
        if wanted:
            self.progress("computing kinds of goods")
            goods.measure(self.connection, catalogue.places_of(ours.goods), wanted)
        features = (
            f"select * from read_parquet({engine.text(self.snapshot.path / snapshot.FEATURES)})"
        )
        segments = (
            f"select * from read_parquet({engine.text(self.segments)})" if self.segments else None
        )
        sources = Sources(features, segments=segments)
        sql = compiled.joined_sql(reads.values(), sources)
        engine.copy_to_parquet(self.connection, f"{sql} order by member_id", path)


def _refuse_no_segments(path: Path) -> None:
    wanted = {"member_id", *columns.SEGMENTS}
    if not path.is_file():
        raise InputRefused(
            f"{path} is not a file. No tags were made. Name the Parquet file that holds the "
            "segments, or leave it out: perennial tags"
        )
    try:
        there = set(pq.read_schema(path).names)
    except (OSError, pa.ArrowException) as error:
        raise InputRefused(
            f"{path} is no Parquet file of segments: {error}. No tags were made. Name the file "
            "that holds them, or leave it out: perennial tags"
        ) from error
    if missing := sorted(wanted - there):
        raise InputRefused(
            f"{path} lacks the columns {', '.join(missing)} of segments. No tags were made. Name "
            "the file that holds them, or leave it out: perennial tags"
        )


def _digest(tag: Tag) -> str:
    return hashlib.sha256(definition(tag).encode()).hexdigest()[:16]


def _trusted(tags: tuple[Tag, ...], earlier: Tagged | None) -> list[str]:
    """Return the tags whose earlier state means the same as today: their definition is equal."""
    if earlier is None:
        return []
    before = earlier.meta["definitions"]
    return [tag.id for tag in tags if before.get(tag.id) == _digest(tag)]


def _with_earlier(facts: str, earlier: Tagged | None, trusted: list[str]) -> str:
    if earlier is None or not trusted:
        return facts
    listed = ", ".join(
        f"{engine.name(one)} as {engine.name(f'{compiled.EARLIER}.{one}')}" for one in trusted
    )
    held = f"select member_id, {listed} from read_parquet({engine.text(earlier.path / HELD)})"
    return f"select * from ({facts}) left join ({held}) using (member_id)"
