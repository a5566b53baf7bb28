"""Which kinds of goods the categories of a programme's catalogue are, by their words."""

import hashlib
import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import duckdb

from features.lake import Lake, Manifest
from features.tags.declared import Goods, OwnCategories, Words

NAME_LENGTH_SHOWN = 60
OWN_MOST = 100


@dataclass(frozen=True)
class Catalogue:
    """Which kinds of goods a programme's categories are.

    Parameters
    ----------
    places : (category, goods id), ordered
    fit : share of the lines of the last year whose category is of a declared kind
    own : the programme's most bought categories as kinds of goods, most lines first
    """

    places: tuple[tuple[str, str], ...]
    fit: float
    own: tuple[Goods, ...]

    def places_of(self, goods: tuple[Goods, ...]) -> tuple[tuple[str, str], ...]:
        """Return the places, with those of the own categories that are among some goods."""
        return (*self.places, *((one.category, one.id) for one in goods if one.category))


def describe(
    connection: duckdb.DuckDBPyConnection,
    lake: Lake,
    manifest: Manifest,
    midnight: str,
    goods: tuple[Goods, ...],
) -> Catalogue:
    """Match the declared kinds of goods with the categories bought in the last year.

    Parameters
    ----------
    connection : with the relations of a snapshot prepared
    midnight : SQL of the instant at which as_of begins
    """
    connection.execute(
        f"""create or replace temp table tag_departments as
        select category, min(department) as department from (
            select category, department, rank() over (
                partition by category order by count(*) desc, department) as place
            from (
                select product_id, arg_max(category, known_at) as category,
                       arg_max(department, known_at) as department
                from ({lake.rows_sql("products", manifest)})
                where sign > 0 and known_at < {midnight} group by product_id
            ) where category is not null group by category, department
        ) where place = 1 group by category"""
    )
    # The frozen table of prices has every category of the last year with its share of lines.
    rows = connection.execute(
        """select category, department, line_share from reference_categories
        left join tag_departments using (category) order by line_share desc, category"""
    ).fetchall()
    matchers = [(one.id, matcher(one)) for one in goods]
    places: list[tuple[str, str]] = []
    fitting = []
    for category, department, share in rows:
        found = [name for name, matches in matchers if matches(category, department or "")]
        places += [(category, name) for name in found]
        fitting += [float(share)] if found else []
    own = tuple(own_category(str(row[0])) for row in rows[:OWN_MOST])
    return Catalogue(tuple(sorted(places)), math.fsum(fitting), own)


def own_category(category: str) -> Goods:
    """Return a programme's category as a kind of goods of its own, under a name that keeps."""
    slug = re.sub(r"[^a-z0-9]+", "_", category.lower()).strip("_")[:32]
    digest = hashlib.sha256(category.encode()).hexdigest()[:8]
    shown = category if len(category) <= NAME_LENGTH_SHOWN else f"{category[:NAME_LENGTH_SHOWN]}…"
    words = Words(en=shown, zh=shown)
    return Goods(id=f"own_{slug}_{digest}".replace("__", "_"), name=words, category=category)


def taken(catalogue: Catalogue, wish: OwnCategories) -> tuple[Goods, ...]:
    """Return the own categories a template asks for; none where the declared goods fit."""
    if catalogue.fit >= wish.where_goods_fit_less_than:
        return ()
    return catalogue.own[: wish.most]


def matcher(goods: Goods) -> Callable[[str, str], bool]:
    """Return whether a category, mostly of some department, is of a kind of goods."""
    yes, no = _pattern(goods.words), _pattern(goods.except_)
    departments = _pattern(goods.departments)

    def matches(category: str, department: str) -> bool:
        if goods.category:
            return category == goods.category
        if no is not None and no.search(category):
            return False
        return bool(
            (yes is not None and yes.search(category))
            or (departments is not None and departments.search(department))
        )

    return matches


def _pattern(words: tuple[str, ...]) -> re.Pattern[str] | None:
    """Match any of the words: whole ones in Latin script, with or without a plural s.

    A word that runs into a number is a code: "cat0" and "cat_12" are categories, and no cats.
    """
    if not words:
        return None
    parts = [
        rf"(?<![a-zà-ÿ0-9]){re.escape(word)}(?:e?s)?(?![a-zà-ÿ]|[_-]?[0-9])"
        if word.isascii()
        else re.escape(word)
        for word in words
    ]
    return re.compile("|".join(parts), re.IGNORECASE)
