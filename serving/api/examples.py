"""An example of whatever a schema describes, and the schema's bounds in words."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

REF = "#/components/schemas/"
# Where a name or a pattern asks for something particular.
_BY_NAME: Mapping[str, str] = {
    "member_id": "1145", "to_member_id": "2001", "source": "till", "source_key": "1145",
    "order_id": "2018-03-01/771", "line_no": "1", "product_id": "998123", "kind": "view",
    "language": "en", "posting_id": "till-7/2018-03-01/12", "reverses": "till-7/2018-03-01/12",
    "reason": "as agreed", "campaign": "spring", "campaign_id": "spring", "by": "Ann",
}  # fmt: skip
_BY_FORMAT: Mapping[str, str] = {
    "date-time": "2018-03-01T09:30:00Z", "date": "2018-03-01", "uuid": "0" * 8 + "-0000" * 3
    + "-" + "0" * 12, "uri": "https://example.com/",
}  # fmt: skip
_BY_PATTERN = ("EUR", "500", "spring", "0" * 64)
_KINDS: Mapping[str, str] = {
    "string": "text", "integer": "whole number", "number": "number", "boolean": "true or false",
    "object": "object", "null": "null",
}  # fmt: skip
_FORMATS: Mapping[str, str] = {"date-time": "instant with its timezone", "date": "day"}
_RANGES = (("minLength", "maxLength", " characters"), ("minItems", "maxItems", " entries"),
           ("minimum", "maximum", ""))  # fmt: skip
_BOUNDS: Mapping[str, str] = {
    "minLength": "at least {} characters", "maxLength": "at most {} characters",
    "minimum": "at least {}", "maximum": "at most {}", "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}", "multipleOf": "a multiple of {}",
    "minItems": "at least {} entries", "maxItems": "at most {} entries",
    "maxProperties": "at most {} keys", "pattern": "matches {}",
}  # fmt: skip


class Examples:
    """Makes examples of the schemas of one description.

    Parameters
    ----------
    schemas : by name, what `$ref` names
    """

    def __init__(self, schemas: Mapping[str, Schema]) -> None:
        self._schemas = schemas

    def of(self, schema: Schema, name: str = "") -> Any:
        """Return the least that fits: what is required, and one entry of each list.

        Parameters
        ----------
        name : of the property or parameter, for a value that suits it
        """
        if "$ref" in schema:
            return self.of(self._schemas[schema["$ref"].removeprefix(REF)], name)
        if "examples" in schema:
            return schema["examples"][0]
        for key in ("anyOf", "oneOf", "allOf"):
            if key in schema:
                return self.of(schema[key][0], name)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return schema["enum"][0]
        return self._plain(schema, name)

    def _plain(self, schema: Schema, name: str) -> Any:
        kind = schema.get("type", "object")
        if kind == "object":
            named: Schema = schema.get("properties", {})
            return {key: self.of(named[key], key) for key in schema.get("required", ())}
        if kind == "array":
            inner = schema.get("items", {})
            return [self.of(inner, name.removesuffix("s")) for _ in range(max(1, _least(schema)))]
        if kind in ("integer", "number"):
            return _number(schema)
        return {"boolean": True, "null": None}.get(kind, _text(schema, name))


def kind_of(schema: Schema) -> Iterator[tuple[str, str | None]]:
    """Yield the words of a type, each with the schema it names if it names one."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(REF)
        yield name, name
        return
    choices = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
    if choices:
        for place, choice in enumerate(choices):
            if place:
                yield " or ", None
            yield from kind_of(choice)
        return
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        yield " | ".join(str(value) for value in values), None
        return
    kind = schema.get("type", "anything")
    if kind == "array":
        yield "list of ", None
        yield from kind_of(schema.get("items", {}))
        return
    more = schema.get("additionalProperties")
    if kind == "object" and isinstance(more, Mapping):
        yield "by name: ", None
        yield from kind_of(more)
        return
    yield _FORMATS.get(schema.get("format", ""), _KINDS.get(kind, kind)), None


def bounds_of(schema: Schema) -> str:
    """Return the bounds of a value in words; those of each kind it may be."""
    said, left = [], dict(schema)
    for least, most, of in _RANGES:
        if least in schema and most in schema:
            said.append(f"{_short(left.pop(least))} to {_short(left.pop(most))}{of}")
    said += [words.format(_short(left[key])) for key, words in _BOUNDS.items() if key in left]
    for choice in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        said += [bounds_of(choice)]
    if "items" in schema and (inner := bounds_of(schema["items"])):
        said.append(f"each {inner}")
    return ", ".join(one for one in said if one)


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _least(schema: Schema) -> int:
    return int(schema.get("minItems", 1))


def _number(schema: Schema) -> float | int:
    step, beyond = schema.get("multipleOf", 1), schema.get("exclusiveMinimum", 0)
    found = -(-max(1, schema.get("minimum", 1), beyond) // step) * step
    if found <= beyond:
        found += step
    most = schema.get("maximum", schema.get("exclusiveMaximum"))
    if most is not None and found > most:
        found = most if "maximum" in schema else most / 2
    return int(found) if schema.get("type") == "integer" else float(found)


def _text(schema: Schema, name: str) -> str:
    if schema.get("format") in _BY_FORMAT:
        return _BY_FORMAT[schema["format"]]
    tried = [_BY_NAME.get(name, name or "text"), *_BY_PATTERN]
    least, most = schema.get("minLength", 0), schema.get("maxLength", 10_000)
    for one in tried:
        fits = one[:most].ljust(least, "0")
        if re.search(schema.get("pattern", ""), fits):
            return fits
    return tried[0]
