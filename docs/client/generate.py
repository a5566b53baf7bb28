"""Write `perennial_client.py` from the description of the API: `make client`.

The file is the text of `runtime.py`, one typed dictionary per schema, and one method per route.
"""

import keyword
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Schema = Mapping[str, Any]

HERE = Path(__file__).parent
CLIENT = HERE / "perennial_client.py"
REF = "#/components/schemas/"
_KINDS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
# Said once, when the client is made.
_LEFT_OUT = {"accept-language"}
_WIDTH = 96
_HEADING = '"""A client of a Perennial service, made from its description by `make client`."""\n'


def generated(described: Schema) -> str:
    """Return the text of a client.

    Parameters
    ----------
    described : OpenAPI 3.1, as `/v1/openapi.json`
    """
    runtime = (HERE / "runtime.py").read_text("utf-8")
    text = _HEADING + runtime.partition("\n")[2]
    text = text.replace("from typing import Any\n", "from typing import Any, Literal, NotRequired, "
                        "TypedDict\n")  # fmt: skip
    schemas = described["components"]["schemas"]
    parts = [text.rstrip()]
    parts += [_typed_dict(name, schemas[name]) for name in sorted(schemas)]
    parts.append("\n".join(_client(described)))
    return "\n\n\n".join(parts) + "\n"


def _typed_dict(name: str, schema: Schema) -> str:
    said = schema.get("description", name).strip().splitlines()[0]
    if "properties" not in schema:
        return f"{_class(name)} = {_type(schema, quoted=True)}"
    required = set(schema.get("required", ()))
    fields = {
        key: _type(one, quoted=True) if key in required
        else f"NotRequired[{_type(one, quoted=True)}]"
        for key, one in schema["properties"].items()
    }  # fmt: skip
    if all(key.isidentifier() and not keyword.iskeyword(key) for key in fields):
        lines = [f"    {key}: {kind}" for key, kind in fields.items()]
        return "\n".join([f"class {_class(name)}(TypedDict):", f'    """{said}"""', "", *lines])
    listed = "".join(f"    {key!r}: {kind},\n" for key, kind in fields.items())
    return f"{_class(name)} = TypedDict({_class(name)!r}, {{\n{listed}}})"


def _client(described: Schema) -> Iterator[str]:
    yield "class Perennial(Caller):"
    yield '    """The routes of a service, by the names its description gives them."""'
    for path, methods in sorted(described["paths"].items()):
        for method, operation in sorted(methods.items()):
            yield ""
            yield from _method(path, method.upper(), operation)


def _method(path: str, method: str, operation: Schema) -> Iterator[str]:
    asked = [one for one in operation.get("parameters", ()) if one["name"].lower() not in _LEFT_OUT]
    by_place = {place: [one for one in asked if one["in"] == place]
                for place in ("path", "query", "header")}  # fmt: skip
    body, answer = _body(operation), _answer(operation)
    arguments = ["self", *(f"{one['name']}: str" for one in by_place["path"])]
    arguments += [f"body: {body}"] if body else []
    named = [*by_place["query"], *by_place["header"]]
    arguments += ["*"] if named else []
    arguments += [_argument(one) for one in named]
    returned = answer or "Download | None"
    yield f"    def {operation['operationId']}("
    yield from (f"        {argument}," for argument in arguments)
    yield f"    ) -> {returned}:"
    said = " ".join(operation.get("description", operation.get("summary", "")).split())
    said += "" if answer else " None: the caller has it already."
    wrapped = textwrap.wrap(said, _WIDTH - 11)
    yield f'        """{wrapped[0]}' + ('"""' if len(wrapped) == 1 else "")
    if len(wrapped) > 1:
        yield from (f"        {line}" for line in wrapped[1:])
        yield '        """'
    filled = re.sub(r"\{(\w+)\}", r"{_in_path(\1)}", path)
    place = f'f"{filled}"' if by_place["path"] else f'"{filled}"'
    query = _dict(by_place["query"], lambda one: one["name"])
    headers = _dict(by_place["header"], lambda one: one["name"])
    if answer is None:
        yield f"        return self._download({place}, {query}, {headers})"
        return
    sent = "body" if body else "None"
    yield f"        found: {answer} = self._json("
    yield from (f"            {one}," for one in (f'"{method}"', place, query, sent, headers))
    yield "        )"
    yield "        return found"


def _argument(parameter: Schema) -> str:
    name, kind = _name(parameter["name"]), _type(parameter["schema"])
    if parameter.get("required"):
        return f"{name}: {kind}"
    default = parameter["schema"].get("default")
    optional = kind if default is not None or "None" in kind.split(" | ") else f"{kind} | None"
    return f"{name}: {optional} = {default!r}"


def _dict(parameters: list[Any], key: Any) -> str:
    return "{" + ", ".join(f'"{key(one)}": {_name(one["name"])}' for one in parameters) + "}"


def _body(operation: Schema) -> str | None:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    return _type(content["schema"]) if content else None


def _answer(operation: Schema) -> str | None:
    """Return the type of the answer; None where it is a file."""
    for status in ("200", "201", "202"):
        content = operation["responses"].get(status, {}).get("content", {})
        if "application/json" in content:
            return _type(content["application/json"].get("schema", {}))
    return None


def _type(schema: Schema, *, quoted: bool = False) -> str:
    found = _plain_type(schema)
    return f'"{found}"' if quoted and _refers(schema) else found


def _plain_type(schema: Schema) -> str:
    if "$ref" in schema:
        return _class(schema["$ref"].removeprefix(REF))
    if "const" in schema:
        return f"Literal[{schema['const']!r}]"
    if "enum" in schema:
        return f"Literal[{', '.join(map(repr, schema['enum']))}]".replace("'", '"')
    for kind in ("anyOf", "oneOf"):
        if kind in schema:
            return " | ".join(dict.fromkeys(_plain_type(one) for one in schema[kind]))
    if len(schema.get("allOf", ())) == 1:
        return _plain_type(schema["allOf"][0])
    if schema.get("type") == "array":
        return f"list[{_plain_type(schema['items'])}]" if "items" in schema else "list[Any]"
    if schema.get("type") == "object":
        values = schema.get("additionalProperties")
        return f"dict[str, {_plain_type(values) if isinstance(values, Mapping) else 'Any'}]"
    return _KINDS.get(schema.get("type", ""), "Any")


def _refers(schema: Schema) -> bool:
    """Return whether a type names another, which may be defined further down."""
    return REF in str(schema)


def _class(name: str) -> str:
    return re.sub(r"\W", "", name)


def _name(parameter: str) -> str:
    name = parameter.lower().replace("-", "_")
    return f"{name}_" if keyword.iskeyword(name) else name


def main() -> None:
    """Write the client beside this file."""
    repository = HERE.parents[1]
    sys.path.insert(0, str(repository))
    from serving.api.app import create_api
    from serving.live import Live
    from serving.points import PointsDesk

    CLIENT.write_text(generated(create_api(Live(), PointsDesk()).openapi()), encoding="utf-8")


if __name__ == "__main__":
    main()
