"""Short ways to declare tags in a test and to decide them over rows that are given."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from features.tags import compiled, rules
from features.tags.compiled import Sources
from features.tags.rules import Rules

HEAD = """
[family]
id = "test"
name = { en = "Test", zh = "测试" }
[defaults]
window_days = 182
min_support = 0
freshness_days = 0
outcome = "spend"
"""
GOODS = """
[[goods]]
id = "baby"
name = { en = "baby goods", zh = "母婴用品" }
words = ["baby", "婴"]
[[goods]]
id = "pets"
name = { en = "pet goods", zh = "宠物用品" }
words = ["dog food"]
"""


def tag(name: str, rule: str, more: str = "") -> str:
    """Return the TOML of one tag."""
    return (
        f'[[tag]]\nid = "{name}"\nname = {{ en = "{name}", zh = "{name}" }}\n'
        f'says = {{ en = "is {name}", zh = "是{name}" }}\nrule = [{rule}]\n{more}\n'
    )


def declared(folder: Path, *texts: str, head: str = HEAD) -> rules.Declared:
    """Write one rules file and read it."""
    folder.mkdir(exist_ok=True)
    (folder / "test.toml").write_text(head + "\n".join(texts), "utf-8")
    return rules.read(folder=folder)


def ruled(folder: Path, *texts: str, head: str = HEAD, sensitive: bool | None = None) -> Rules:
    """Write one rules file, read and check it."""
    return declared(folder, *texts, head=head).expand(None, sensitive)


def conditions(text: str) -> list[Any]:
    """Return conditions written as they stand in a rule."""
    found: list[Any] = tomllib.loads(f"rule = [{text}]")["rule"]
    return found


def decided(
    ours: Rules,
    rows: Sequence[Mapping[str, Any]],
    before: Sequence[set[str]] | None = None,
    threads: int = 2,
) -> list[set[str]]:
    """Return the tags each row holds, by the SQL; rows are feature columns by name."""
    names = sorted({c.name for t in ours.tags for c in ours.reads[t.id]})
    kinds = {c.name: c.kind for t in ours.tags for c in ours.reads[t.id]}
    columns = {
        name: pa.array(
            [row.get(name) for row in rows],
            pa.string() if kinds[name] == "name" else pa.float64(),
        )
        for name in names
    }
    held = {
        f"earlier.{t.id}": pa.array(
            [
                "2024-01-01" if before and t.id in was else None
                for was in before or [set()] * len(rows)
            ]
        )
        for t in ours.tags
    }
    order = [f"{number:06d}" for number in range(len(rows))]
    with duckdb.connect(config={"threads": threads}) as connection:
        connection.register("given", pa.table({"member_id": order, **columns}))
        connection.register("held", pa.table({"member_id": order, **held}))
        reads = {c.name: c for t in ours.tags for c in ours.reads[t.id]}
        facts = compiled.joined_sql(reads.values(), Sources("select * from given"))
        states = ", ".join(f'cast("{name}" as date) as "{name}"' for name in held)
        connection.execute(
            f"create table facts as select * from ({facts}) "
            f"left join (select member_id, {states} from held) using (member_id)"
        )
        measured = compiled.quantiles(connection, ours.tags, "facts")
        sql = compiled.select_sql(
            ours.tags, measured, "facts", "date '2024-02-01'", [t.id for t in ours.tags]
        )
        found = connection.execute(sql)
        named = [column[0] for column in found.description or ()]
        return [
            {name for name, since in zip(named[1:], row[1:], strict=True) if since is not None}
            for row in found.fetchall()
        ]
