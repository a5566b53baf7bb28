"""The page that describes the API to people: made here from its own description, no scripts."""

import hashlib
import json
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from serving.access.doors import SCOPE_KEY
from serving.access.gatekeeper import REFUSALS
from serving.access.scopes import SCOPES
from serving.api import problems
from serving.api.examples import Examples, bounds_of, kind_of

DOCS_PATH = "/v1/docs"
_FOLDER = Path(__file__).parents[1] / "templates"
_STYLE = (_FOLDER / "api.css").read_text("utf-8")
_HASH = b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
# The page may do nothing but look as its own style says, which is named by its hash.
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'"
)
_TEMPLATES = Environment(
    loader=PackageLoader("serving", "templates"),
    autoescape=select_autoescape(),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
Described = Callable[[], dict[str, Any]]


def create_routes(described: Described) -> APIRouter:
    """Make the route of the page.

    Parameters
    ----------
    described : gives the API's description; asked when the page is first looked at
    """
    routes = APIRouter()
    made: list[str] = []

    @routes.get(DOCS_PATH, include_in_schema=False)
    def page() -> HTMLResponse:
        if not made:
            made.append(render(described()))
        return HTMLResponse(made[0], headers={"Content-Security-Policy": POLICY})

    return routes


def render(openapi: Mapping[str, Any]) -> str:
    """Return the page of a description, as HTML."""
    schemas: Mapping[str, Any] = openapi.get("components", {}).get("schemas", {})
    examples = Examples(schemas)
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            told = _operation(method.upper(), path, operation, examples)
            groups.setdefault(path.split("/")[2], []).append(told)
    return _TEMPLATES.get_template("api.html").render(
        title=openapi["info"]["title"],
        description=openapi["info"].get("description", ""),
        style=_STYLE,
        scopes=SCOPES,
        groups=groups,
        schemas=[_schema(name, schemas[name]) for name in sorted(schemas)],
        statuses=[
            (status, HTTPStatus(status).phrase, detail)
            for status, detail in sorted(problems.DETAILS.items())
        ],
        codes=sorted(
            (code, *said)
            for told in (
                problems.REFUSALS,
                problems.ACTION_REFUSALS,
                problems.MEMBER_REFUSALS,
                REFUSALS,
            )
            for code, said in told.items()
        ),
    )


def _operation(
    method: str, path: str, operation: Mapping[str, Any], examples: Examples
) -> dict[str, Any]:
    kind, body = _first(operation.get("requestBody", {}).get("content", {}))
    example = examples.of(body["schema"]) if "schema" in body else None
    parameters = operation.get("parameters", [])
    return {
        "id": operation["operationId"],
        "method": method,
        "path": path,
        "says": operation.get("description", "").split("\n\n"),
        "scope": operation.get(SCOPE_KEY),
        "parameters": [
            {
                "name": one["name"], "place": one["in"], "needed": one.get("required", False),
                "kind": list(kind_of(one["schema"])), "bounds": _bounds(one["schema"]),
                "says": one.get("description", one["schema"].get("description", "")),
            }
            for one in parameters
        ],
        "body": list(kind_of(body["schema"])) if "schema" in body else None,
        "body_kind": kind,
        "call": _call(method, path, parameters, example, examples),
        "answers": list(_answers(operation.get("responses", {}))),
    }  # fmt: skip


def _call(
    method: str, path: str, parameters: list[Any], example: Any, examples: Examples
) -> str:  # fmt: skip
    """Return the request as a line for a shell."""
    asked = []
    for one in parameters:
        value = str(examples.of(one["schema"], one["name"]))
        if one["in"] == "path":
            path = path.replace(f"{{{one['name']}}}", value)
        elif one["in"] == "query" and one.get("required"):
            asked.append(f"{one['name']}={value}")
    address = path + ("?" + "&".join(asked) if asked else "")
    lines = [f'curl -X {method} "$PERENNIAL{address}" -H "Authorization: Bearer $KEY"']
    if method in ("POST", "PUT", "PATCH"):
        lines[0] += ' -H "Content-Type: application/json"'
        # An apostrophe would end what the shell takes as one word.
        body = json.dumps(example, indent=1, ensure_ascii=False).replace("'", "\\u0027")
        lines.append(f"-d '{body}'" if example is not None else "")
    return " \\\n ".join(line for line in lines if line)


def _answers(responses: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for status, response in sorted(responses.items()):
        said = response.get("description", "")
        if said == problems.DETAILS.get(int(status)):
            continue  # what can go wrong everywhere is told once
        kind, body = _first(response.get("content", {}))
        yield {
            "status": status,
            "says": "" if said == "Successful Response" else said,
            "kind": list(kind_of(body["schema"])) if body.get("schema") else [(kind, None)],
        }


def _first(content: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    for kind, body in content.items():
        return kind, body
    return "", {}


def _schema(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    needed = set(schema.get("required", ()))
    return {
        "name": name,
        "says": schema.get("description", ""),
        "fields": [
            {
                "name": key, "needed": key in needed, "kind": list(kind_of(inner)),
                "bounds": _bounds(inner), "says": inner.get("description", ""),
            }
            for key, inner in schema.get("properties", {}).items()
        ],
        "kind": [] if "properties" in schema else list(kind_of(schema)),
    }  # fmt: skip


def _bounds(schema: Mapping[str, Any]) -> str:
    said = bounds_of(schema)
    default = schema.get("default")
    if default in (None, [], {}, ""):
        return said
    return ", ".join(one for one in (said, f"left out: {default}") if one)
