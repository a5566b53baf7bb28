"""Same key, same content: nothing. Same key, other content: a new version, if known later.

Staged rows are judged against each other and against what is stored, in SQL, so that a batch
larger than memory spills instead of failing.
"""

import duckdb

from features import contracts

# A stored row that takes an earlier version back carries the new version's known_at.
NEW, RETRACTION = 1, -1


def judge_repeated(
    connection: duckdb.DuckDBPyConnection, table: contracts.Table, staged: str, stored: str
) -> None:
    """Make the temp tables `repeated` (hashes of keys seen twice) and `judged`.

    Parameters
    ----------
    table : the contract both selects carry
    staged : SELECT of checked rows: contract columns, file, line, problem, raw
    stored : SELECT of the rows of earlier batches

    Notes
    -----
    A staged row is of a repeated key if another one, or a stored one, has its key.
    `judged` has one row per staged row of a repeated key, with `fate` new | unchanged | refused
    and `previous`, the content it replaces. Rows of keys that occur once are not in it: a first
    load costs one hash aggregate and nothing else. Of rows known at the same instant the first
    read wins; stored ones were read first. A row that says again what held at its `known_at` is
    unchanged even if a later version is stored: an old export may be sent once more.
    """
    key = ", ".join(table.key)
    # A table may be keyed by when a thing was known: its rows are no versions of each other.
    named = ", ".join(c for c in table.key if c != "known_at")
    content = "{" + ", ".join(f"{c}: {c}" for c in table.content) + "}" if table.content else "null"
    # Of what is stored only what has to do with the staged rows: a lake is larger than memory.
    fresh = f"select hash({key}) as h from ({staged}) where problem is null"
    connection.execute(
        f"""create or replace temp table repeated as
        select h from (
            {fresh}
            union all
            select h from (select hash({key}) as h from ({stored}) where sign = {NEW})
            where h in ({fresh})
        ) group by h having count(*) > 1"""
    )
    _leave_out_what_is_stored(connection, table, staged, stored)
    joined = " and ".join(f"w.{column} = s.{column}" for column in table.key)
    connection.execute(
        f"""create or replace temp table judged as
        with timeline as (
            select {named}, known_at, {content} as content, 1 as fresh, file, line, raw
            from candidates
            union all
            select {named}, known_at, {content}, 0, '', 0, null
            from ({stored})
            where sign = {NEW} and hash({key}) in (select hash({key}) from candidates)
        ), placed as (
            select *,
                first_value(content) over at_once as winner,
                row_number() over at_once as place,
                max(case when fresh = 0 then known_at end) over (partition by {key}) as stored_at,
                arg_max(content, known_at) filter (where fresh = 0) over (partition by {key})
                    as stored_content,
                arg_max(content, known_at) filter (where fresh = 0) over (
                    partition by {key} order by known_at) as content_then
            from timeline
            window at_once as (partition by {key}, known_at order by fresh, file, line)
        ), steps as (
            select {named}, known_at, lag(winner) over (partition by {key} order by known_at)
                as previous
            from placed where place = 1
        )
        select {", ".join(f"w.{c}" for c in table.key if c != "known_at")}, w.known_at, w.content,
            w.file, w.line, w.raw,
            case when w.known_at < w.stored_at and w.content is distinct from w.stored_content
                     and w.content is distinct from w.content_then
                     then 'refused'
                 when w.known_at < w.stored_at then 'unchanged'
                 when w.place > 1 and w.content is distinct from w.winner then 'refused'
                 when w.place > 1 then 'unchanged'
                 when s.previous is not null and w.content is not distinct from s.previous
                     then 'unchanged'
                 else 'new' end as fate,
            s.previous
        from placed w join steps s on {joined} and w.known_at = s.known_at
        where w.fresh = 1"""
    )


def _leave_out_what_is_stored(
    connection: duckdb.DuckDBPyConnection, table: contracts.Table, staged: str, stored: str
) -> None:
    """Make the temp table `candidates`: rows of repeated keys that equal no stored version.

    Sending a file again is the common case, and a join is much cheaper than ordering versions.
    """
    key = ", ".join(table.key)
    equal = " and ".join(
        [f"c.{column} = t.{column}" for column in dict.fromkeys((*table.key, "known_at"))]
        + [f"c.{column} is not distinct from t.{column}" for column in table.content]
    )
    connection.execute(
        f"""create or replace temp table candidates as
        select c.* from (
            select * from ({staged})
            where problem is null and hash({key}) in (select h from repeated)
        ) c anti join (
            select * from ({stored}) where sign = {NEW} and hash({key}) in (select h from repeated)
        ) t on {equal}"""
    )


def count_known(
    connection: duckdb.DuckDBPyConnection, table: contracts.Table, staged: str
) -> tuple[int, int]:
    """Return how many staged rows said nothing new, and how many replaced an earlier version."""
    key = ", ".join(table.key)
    unchanged, corrected = connection.execute(
        f"""select
            (select count(*) from ({staged}) where problem is null
                and hash({key}) in (select h from repeated))
            - (select count(*) from candidates)
            + (select count(*) from judged where fate = 'unchanged'),
            (select count(*) from judged where fate = 'new' and previous is not null)"""
    ).fetchall()[0]
    return int(unchanged), int(corrected)


def accepted_sql(table: contracts.Table, staged: str) -> str:
    """Return a SELECT of the rows to store, with their sign, after `judge_repeated`."""
    key = ", ".join(table.key)
    names = ", ".join(table.column_names)

    def unpacked(struct: str, sign: int) -> str:
        columns = [
            f"{struct}.{column} as {column}" if column in table.content else column
            for column in table.column_names
        ]
        return f"select {', '.join(columns)}, cast({sign} as tinyint) as sign"

    return f"""
        select {names}, cast({NEW} as tinyint) as sign from ({staged})
        where problem is null and hash({key}) not in (select h from repeated)
        union all by name
        {unpacked("content", NEW)} from judged where fate = 'new'
        union all by name
        {unpacked("previous", RETRACTION)} from judged
        where fate = 'new' and previous is not null"""


def refused_sql(table: contracts.Table, staged: str) -> str:
    """Return a SELECT of the rows to quarantine: reason, column, file, line and the row."""
    columns = "{" + ", ".join(f"{c}: {c}" for c in table.column_names) + "}"
    judged_columns = ", ".join(f"{c}: {c}" for c in dict.fromkeys((*table.key, "known_at")))
    return f"""
        select split_part(problem, ':', 1) as reason,
               nullif(split_part(problem, ':', 2), '') as column_name, file, line,
               coalesce(cast(raw as varchar), cast(to_json({columns}) as varchar)) as row_json
        from ({staged}) where problem is not null
        union all
        select 'conflicting_duplicate', 'known_at', file, line,
               coalesce(cast(raw as varchar),
                        cast(to_json({{{judged_columns}, content: content}})
                             as varchar))
        from judged where fate = 'refused'"""


def with_identity(table: contracts.Table, rows: str, drop_equal_rows: bool) -> str:
    """Give rows of a source without numbers an identity made of their content.

    The n-th equal row of a file is its own row: some sources hold equal lines that are real.
    With `drop_equal_rows` it is the first row again. Sending the same file again gives the same
    identities, and so does a later export that only knows the rows from a later day.
    """
    if not table.made_up:
        return rows
    *_, last = table.made_up
    named = [c for c in table.column_names if c not in (*table.made_up, "known_at")]
    if table is contracts.PURCHASES:
        named.insert(0, "order_id")
    parts = ", ".join(f"coalesce(cast({c} as varchar), '')" for c in named)
    nth = "1"
    if not drop_equal_rows:
        nth = f"row_number() over (partition by file, content_hash, {last} order by line)"
    made = [f"coalesce({last}, concat(content_hash, '-', {nth})) as {last}"]
    if table is contracts.PURCHASES:
        # Without basket numbers, what one member bought at one moment is a basket.
        made.append("""coalesce(order_id, concat(coalesce(source_key, 'anonymous'), '@',
                strftime(occurred_at, '%Y%m%dT%H%M%S'))) as order_id""")
    return f"""
        select * exclude (content_hash) replace ({", ".join(made)})
        from (select *, md5(concat_ws(chr(31), {parts})) as content_hash from ({rows}))"""
