"""Package sizes as grocers print them, read into grams, millilitres or pieces, in SQL."""

from features import engine

# Unit: (what it measures, how much one of it is). An ounce is of weight or of volume: the
# category decides. Avoirdupois and US customary units, exact by definition.
_UNITS = {
    "OZ": ("ounces", 1.0),
    "LB": ("grams", 453.59237), "KG": ("grams", 1000.0),
    "G": ("grams", 1.0), "GM": ("grams", 1.0), "GR": ("grams", 1.0),
    "FL OZ": ("millilitres", 29.5735295625), "PT": ("millilitres", 473.176473),
    "QT": ("millilitres", 946.352946), "GAL": ("millilitres", 3785.411784),
    "GA": ("millilitres", 3785.411784), "ML": ("millilitres", 1.0),
    "L": ("millilitres", 1000.0), "LT": ("millilitres", 1000.0), "LTR": ("millilitres", 1000.0),
    "CT": ("pieces", 1.0), "PC": ("pieces", 1.0), "PK": ("pieces", 1.0),
    "DZ": ("pieces", 12.0), "DOZ": ("pieces", 12.0),
}  # fmt: skip
_OUNCE = {"grams": 28.349523125, "millilitres": 29.5735295625}
# Written without a number, these mean one.
_ALONE = ("LB", "L", "PT", "QT", "GAL", "DZ", "DOZ")
# Beyond these a number is an article number that slipped into the column.
_MOST = {"grams": 50_000, "millilitres": 50_000, "pieces": 1_000}

# Of '6/12 OZ' nobody can say whether it is six twelve-ounce cans or half an ounce: of fractions,
# only proper halves, quarters, eighths and sixteenths in lowest terms are read as such.
_WHOLE, _FRACTION = r"([0-9]*\.?[0-9]+)", r"([0-9]*[13579])/(2|4|8|16)"
_UNIT = "(" + "|".join(sorted(_UNITS, key=len, reverse=True)) + ")"
_HOLDER = r"\*?( (BAG|BOX|BTL|CAN|NR|PET|TUBE))?"
_SIZE = rf"(?:{_WHOLE}(?:(?: +{_FRACTION})? *))?{_UNIT}{_HOLDER}"
_PART = rf"{_FRACTION} *{_UNIT}{_HOLDER}"


def sized(products: str, size: str, category: str, key: str) -> str:
    """Return a SELECT of products with the contents of one package as the column `size`.

    Parameters
    ----------
    products : SELECT of products
    size, category, key : its columns; `size` holds text such as '12 OZ' or '1/2 GAL'

    Returns
    -------
    SQL with all columns of `products` and `size`: grams, millilitres or pieces, whichever its
    category is mostly sold in; null where the text cannot be read or measures something else
    """
    values = ", ".join(
        f"({engine.text(unit)}, {engine.text(measure)}, {amount!r}::double)"
        for unit, (measure, amount) in _UNITS.items()
    )
    most = " ".join(f"when {engine.text(m)} then {limit}" for m, limit in _MOST.items())
    return f"""
        with given as ({products}),
        written as ({_written(size, category, key)}),
        measured as (
            select w.*, u.measure, u.amount * w.number as amount
            from written w join (values {values}) u(unit, measure, amount) using (unit)
        ), ounces as (
            select category, count(*) filter (where measure = 'millilitres')
                > count(*) filter (where measure = 'grams') as fluid
            from measured group by category
        ), plain as (
            select key, category,
                case when measure <> 'ounces' then measure
                     when fluid then 'millilitres' else 'grams' end as measure,
                amount * case when measure <> 'ounces' then 1
                     when fluid then {_OUNCE["millilitres"]!r} else {_OUNCE["grams"]!r} end as size
            from measured join ounces using (category)
        ), readable as (
            select * from plain where size > 0 and size <= case measure {most} end
        ), commonest as (
            select category, min_by(measure, {{n: -n, measure: measure}}) as measure
            from (select category, measure, count(*) as n from readable group by all)
            group by category
        )
        select given.*, found.size
        from given left join (readable join commonest using (category, measure)) found
            on found.key = given.{key}"""


def _written(size: str, category: str, key: str) -> str:
    """Return a SELECT of key, category, number and unit of the sizes that can be read."""
    text = f"upper(trim({size}))"
    alone = ", ".join(engine.text(unit) for unit in _ALONE)

    def part(pattern: str, group: int) -> str:
        return f"nullif(regexp_extract(text, '^{pattern}$', {group}), '')"

    return f"""
            select key, category, unit,
                case when whole is null and over is null
                     then case when unit in ({alone}) then 1 end
                     else coalesce(whole::double, 0) + coalesce(part::double / over::double, 0)
                end as number
            from (
                select {key} as key, {category} as category, {text} as text,
                    {part(_SIZE, 1)} as whole,
                    coalesce({part(_SIZE, 2)}, {part(_PART, 1)}) as part,
                    coalesce({part(_SIZE, 3)}, {part(_PART, 2)}) as over,
                    coalesce({part(_SIZE, 4)}, {part(_PART, 3)}) as unit
                from given where {category} is not null
            )
            where unit is not null and (part is null or part::integer < over::integer)"""
