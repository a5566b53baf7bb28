"""The page of the API shows every route, runs nothing, and its examples are understood."""

import hashlib
import json
import re
import shlex
from base64 import b64encode
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from serving.access.scopes import SCOPES
from serving.api import problems
from serving.api.app import create_api
from serving.api.docs import DOCS_PATH, render
from serving.api.examples import Examples, bounds_of
from serving.live import Live
from serving.points import PointsDesk
from tests.serving.calling import client_of

API = create_api(Live(), PointsDesk())
DESCRIBED: dict[str, Any] = API.openapi()
OPERATIONS = [
    (method.upper(), path, operation)
    for path, methods in DESCRIBED["paths"].items()
    for method, operation in methods.items()
]


class Elements(HTMLParser):
    """Collects what a page is made of."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.calls: list[str] = []
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self._inside = tag
        if tag == "pre":
            self.calls.append("")

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002 - the parser's signature
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "pre":
            self.calls[-1] += data


@pytest.fixture(scope="module")
def page() -> str:
    return render(DESCRIBED)


def test_every_route_scope_schema_and_problem_is_on_the_page(page: str) -> None:
    text = unescape(page)

    for method, path, operation in OPERATIONS:
        assert f'<span class="method">{method}</span> {path}' in text
        assert f'id="{operation["operationId"]}"' in text
        assert f'<code class="scope">{operation["x-scope"]}</code>' in text
    for scope, meaning in SCOPES.items():
        assert f"<code>{scope}</code></td><td>{meaning}" in text
    for name in DESCRIBED["components"]["schemas"]:
        assert f'<h3 id="{name}">' in text
    for code in (*problems.REFUSALS, *problems.ACTION_REFUSALS, "key_refused", "asked_too_often"):
        assert f"<code>{code}</code>" in text
    for status, detail in problems.DETAILS.items():
        assert f"<td>{status}</td>" in text
        assert detail in text


def test_every_link_leads_somewhere_on_the_page(page: str) -> None:
    attributes = Elements(page).attributes
    ids = [value for name, value in attributes if name == "id"]
    links = {value for name, value in attributes if name == "href"}

    assert len(ids) == len(set(ids))
    assert {link.removeprefix("#") for link in links} - set(ids) == {"/v1/openapi.json"}


def test_nothing_on_the_page_runs_or_comes_from_elsewhere(page: str) -> None:
    found = Elements(page)

    assert (
        found.tags & {"script", "iframe", "object", "embed", "link", "img", "form", "base"} == set()
    )
    assert [name for name, _ in found.attributes if name.startswith("on") or name == "style"] == []
    assert [value for name, value in found.attributes
            if name in ("href", "src") and re.match(r"\w+:|//", value)] == []  # fmt: skip
    assert "url(" not in page
    assert "@import" not in page


def test_the_policy_lets_in_the_style_of_the_page_and_nothing_else() -> None:
    with client_of(Live()) as client:
        answer = client.get(DOCS_PATH)

    assert answer.status_code == 200
    (style,) = re.findall("<style>(.*?)</style>", answer.text, re.DOTALL)
    digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert answer.headers.get_list("content-security-policy") == [
        f"default-src 'none'; style-src 'sha256-{digest}'; frame-ancestors 'none'; "
        "base-uri 'none'; form-action 'none'"
    ]
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.fixture
def client(desk: PointsDesk) -> Iterator[TestClient]:
    with client_of(Live(), desk=desk) as client:
        yield client


def test_every_call_on_the_page_is_understood_by_its_route(client: TestClient, page: str) -> None:
    calls = Elements(page).calls
    assert len(calls) == len(OPERATIONS)

    for call in calls:
        words = shlex.split(call)
        assert words[:2] == ["curl", "-X"]
        headers = dict(words[at + 1].split(": ", 1) for at, one in enumerate(words) if one == "-H")
        body = words[words.index("-d") + 1] if "-d" in words else None
        assert headers.pop("Authorization") == "Bearer $KEY"
        answer = client.request(
            words[2], words[3].removeprefix("$PERENNIAL"), headers=headers, content=body
        )
        said = answer.json() if "json" in answer.headers.get("content-type", "") else {}
        # Nothing need be there yet; but where it would be, and in what shape, must be right.
        assert answer.status_code not in (400, 405, 413, 415, 500), (call, said)
        assert "errors" not in said, (call, said)
        assert said.get("detail") != problems.DETAILS[404], call


def test_outside_text_in_a_description_is_shown_and_not_obeyed() -> None:
    evil = "<img src=x onerror=alert(1)></style><script>alert(2)</script>"
    schema = {"type": "object", "description": evil, "properties": {evil: {"type": "string"}}}
    operation = {
        "operationId": "x", "description": evil, "x-scope": "scores:read",
        "parameters": [{"name": evil, "in": "query", "required": True,
                        "schema": {"type": "string", "description": evil}}],
        "requestBody": {"content": {"application/json": {"schema": {"const": evil}}}},
        "responses": {"200": {"description": evil}},
    }  # fmt: skip
    described = {
        "info": {"title": evil, "description": evil}, "paths": {"/v1/x": {"post": operation}},
        "components": {"schemas": {"Evil": schema}},
    }  # fmt: skip

    found = Elements(render(described))

    assert found.tags & {"script", "img"} == set()


texts = st.fixed_dictionaries(
    {"type": st.just("string")},
    optional={"minLength": st.integers(0, 30), "maxLength": st.integers(30, 90)},
)
whole = st.fixed_dictionaries(
    {"type": st.just("integer")},
    optional={
        "minimum": st.integers(-50, 50), "maximum": st.integers(57, 99),
        "exclusiveMinimum": st.integers(-50, 50), "multipleOf": st.sampled_from([1, 7]),
    },
)  # fmt: skip
plain = texts | whole | st.just({"type": "boolean"}) | st.just({"enum": ["a", "b"]})


@given(schema=plain, least=st.integers(0, 4), name=st.sampled_from(["", "member_id", "x" * 99]))
def test_an_example_lies_within_the_bounds_of_its_schema(
    schema: dict[str, Any], least: int, name: str
) -> None:
    whole_schema = {"type": "array", "items": schema, "minItems": least}

    made = Examples({}).of(whole_schema, name)

    assert len(made) >= max(1, least)
    for value in made:
        if isinstance(value, str) and "enum" not in schema:
            assert schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 999)
        elif isinstance(value, int) and not isinstance(value, bool):
            assert schema.get("minimum", -99) <= value <= schema.get("maximum", 99)
            assert value > schema.get("exclusiveMinimum", -99)
            assert value % schema.get("multipleOf", 1) == 0
    json.dumps(made)


def test_bounds_are_said_in_words() -> None:
    text = {"type": "string", "minLength": 1, "maxLength": 64}

    assert bounds_of(text) == "1 to 64 characters"
    assert bounds_of({"anyOf": [text, {"type": "null"}]}) == "1 to 64 characters"
    assert bounds_of({"type": "array", "minItems": 1, "maxItems": 500, "items": text}) == (
        "1 to 500 entries, each 1 to 64 characters"
    )
    assert bounds_of({"type": "number", "exclusiveMinimum": 0.0, "maximum": 1e12}) == (
        "at most 1e+12, more than 0"
    )
