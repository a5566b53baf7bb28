"""Templates of tags: one for each combination of some lists, as visible data in the files."""

import itertools
import re
from collections.abc import Iterable, Mapping
from typing import Any

from features.tags.declared import Goods, Template
from programme.errors import InputRefused

_PLACE = re.compile(r"\{([a-z_]+)(?:\.([a-z_]+))?\}")


def expanded(
    template: Template, name: str, goods: tuple[Goods, ...], own: Mapping[str, Goods]
) -> Iterable[Any]:
    """Yield what each tag of a template would say, its places filled.

    Parameters
    ----------
    name : of the file, for refusals
    own : the programme's own categories, by id, for templates that ask for them
    """
    by_id = {one.id: one for one in goods}
    lists: dict[str, list[dict[str, Any]]] = {}
    for parameter, items in template.each.items():
        lists[parameter] = [
            _item(item, parameter, by_id, f"{name}: template {template.id!r}") for item in items
        ]
    if template.own_categories is not None:
        lists["goods"] = [_words_of(one) for one in own.values()]
    for chosen in itertools.product(*lists.values()):
        yield _filled(template.tag, dict(zip(lists, chosen, strict=True)), f"{name}: template "
                      f"{template.id!r}")  # fmt: skip


def _item(
    item: str | dict[str, Any], parameter: str, goods: Mapping[str, Goods], where: str
) -> dict[str, Any]:
    if isinstance(item, dict):
        if "id" not in item:
            raise InputRefused(
                f"{where}: an item of {parameter!r} has no id. No tag was read. "
                'Write for example { id = "monday", en = "Monday", zh = "周一" }.'
            )
        return item
    if parameter != "goods":
        return {"id": item}
    if item not in goods:
        raise InputRefused(
            f"{where} asks for goods {item[:64]!r}, which no [[goods]] declares. No tag was read. "
            f"There are: {', '.join(sorted(goods))}."
        )
    return _words_of(goods[item])


def _words_of(goods: Goods) -> dict[str, Any]:
    return {"id": goods.id, "en": goods.name.en, "zh": goods.name.zh}


def _filled(value: Any, items: Mapping[str, Mapping[str, Any]], where: str) -> Any:
    """Put the items in the places; a text that is one place alone keeps the item's type."""
    if isinstance(value, dict):
        return {key: _filled(one, items, where) for key, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, items, where) for one in value]
    if not isinstance(value, str):
        return value

    def item(match: re.Match[str]) -> Any:
        parameter, key = match.group(1), match.group(2) or "id"
        if parameter not in items or key not in items[parameter]:
            raise InputRefused(
                f"{where}: nothing fills {match.group(0)}. No tag was read. "
                f"Give each item of {parameter!r} a {key!r}, or correct the name."
            )
        return items[parameter][key]

    whole = _PLACE.fullmatch(value)
    return item(whole) if whole else _PLACE.sub(lambda match: str(item(match)), value)
