"""Tags on scores: declared like all others, decided where scores are, written beside them."""

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

from features import engine
from features.tags import compiled, rules
from features.tags.columns import Known
from features.tags.rules import Rules, definition
from programme.settings import Settings

PREFIX = "tags-of-"


def score_rules(settings: Settings, sensitive: bool | None = None) -> Rules:
    """Return the tags of a programme that read scores, and nothing else."""
    every = rules.read(settings.home).expand(None, sensitive)
    named = {t.id for t in every.tags if any(c.source == "scores" for c in every.reads[t.id])}
    scored = every.from_sources("scores")
    return Rules(
        scored.families, scored.goods, tuple(t for t in scored.tags if t.id in named),
        scored.off, scored.reads,
    )  # fmt: skip


def tag_scores(
    settings: Settings,
    scores: Path,
    as_of: date,
    progress: Callable[[str], None] = lambda _: None,
    earlier: Path | None = None,
) -> Path:
    """Write who holds which score tag beside a file of scores; return the path.

    Parameters
    ----------
    scores : Parquet with member_id and the columns of `columns.SCORES`, one row a member
    earlier : what this wrote beside the scores of an earlier day, for staying thresholds
    """
    ours = score_rules(settings)
    path = scores.with_name(PREFIX + scores.name)
    progress(f"deciding {len(ours.tags)} tags on scores")
    with engine.connect(settings) as connection:
        listed = ", ".join(sorted({_column(c) for t in ours.tags for c in ours.reads[t.id]}))
        connection.execute(
            f"create or replace temp table tag_facts as select member_id"
            f"{', ' if listed else ''}{listed} from read_parquet({engine.text(scores)})"
        )
        trusted: list[str] = []
        if earlier is not None:
            held = f"select * from read_parquet({engine.text(earlier)})"
            before = json.loads(engine.note_of(connection, earlier) or "{}")
            # Where a rule has changed, its earlier state means something else.
            trusted = [tag.id for tag in ours.tags if before.get(tag.id) == definition(tag)]
            named = "".join(
                f", {engine.name(one)} as {engine.name(f'{compiled.EARLIER}.{one}')}"
                for one in trusted
            )
            connection.execute(
                f"create or replace temp table tag_facts as select * from tag_facts "
                f"left join (select member_id{named} from ({held})) using (member_id)"
            )
        measured = compiled.quantiles(connection, ours.tags, "tag_facts")
        sql = compiled.select_sql(
            ours.tags, measured, "tag_facts", f"date {engine.text(as_of)}", trusted,
            with_support=False,
        )  # fmt: skip
        note = json.dumps({tag.id: definition(tag) for tag in ours.tags})
        engine.replace_parquet(connection, sql, path, note)
    return path


def newest_before(folder: Path, as_of: date) -> Path | None:
    """Return the score tags of the newest earlier day in a folder of scores, if any."""
    found = {
        (path.name.removeprefix(PREFIX).split("_")[0], path.name): path
        for path in folder.glob(f"{PREFIX}????-??-??_*.parquet")
    }
    earlier = [key for key in found if key[0] < str(as_of)]
    return found[max(earlier)] if earlier else None


def _column(known: Known) -> str:
    value = engine.name(known.local)
    if known.kind == "name":
        return f"cast({value} as varchar) as {engine.name(known.name)}"
    return (
        f"case when isfinite(cast({value} as double)) then cast({value} as double) end "
        f"as {engine.name(known.name)}"
    )
