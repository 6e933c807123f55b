"""A caller of the API that checks each answer: its request id, its envelope, its schema in the OpenAPI document."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlencode

from django.http.response import HttpResponseBase
from django.test import Client
from django.urls import Resolver404, resolve
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from api.openapi.document import document
from tests.bare import bare


@dataclass
class Api:
    """Calls with a key; `get` and the others return the JSON of an answer with the status expected."""

    key: str | None
    client: Client

    def call(self, method: str, path: str, query: Any = None, **more: Any) -> HttpResponseBase:
        """Make a request and return the answer unchecked; `query`: a dict, pairs for repeated names, or a text."""
        given = {"HTTP_AUTHORIZATION": f"Bearer {self.key}"} if self.key else {}
        if query:
            more["QUERY_STRING"] = query if isinstance(query, str) else encode(query)
        return bare(self.client.generic, method, path, **{**given, **more})

    def get(self, path: str, query: Any = None, *, status: int = 200, **more: Any) -> dict[str, Any]:
        """Get JSON."""
        return self.json("GET", path, query, status=status, **more)

    def json(self, method: str, path: str, query: Any = None, *, status: int, **more: Any) -> dict[str, Any]:
        """Make a request whose answer is JSON."""
        response = self.call(method, path, query, **more)
        body = read_json(response)
        assert response.status_code == status, body
        check(method, path, response, body)
        return body

    def error(self, path: str, query: Any = None, *, status: int, method: str = "GET", **more: Any) -> dict[str, Any]:
        """Make a request that is refused; return the `error`."""
        found: dict[str, Any] = self.json(method, path, query, status=status, **more)["error"]
        return found


def encode(query: Any) -> str:
    """Write a query string; pairs may repeat a name."""
    return urlencode(query, doseq=True)


def content(response: HttpResponseBase) -> bytes:
    """Return the body, streamed or not."""
    return b"".join(response.streaming_content) if response.streaming else response.content  # type: ignore[attr-defined]


def read_json(response: HttpResponseBase) -> dict[str, Any]:
    """Return the body as a JSON object."""
    body = json.loads(content(response))
    assert isinstance(body, dict)
    return body


def check(method: str, path: str, response: HttpResponseBase, body: dict[str, Any]) -> None:
    """Require what every answer has, and the schema that the document promises for it."""
    assert response.headers["Content-Type"].startswith("application/json")
    assert response.headers["X-Request-Id"] == body["request_id"]
    schema = schema_of(method, path, response.status_code)
    if response.status_code >= 400:
        schema = schema or {"$ref": "urn:document#/components/schemas/Error"}
        assert body["status"] == response.status_code
    assert schema is not None, f"the document knows no {response.status_code} of {method} {path}"
    validator(schema).validate(body)


def schema_of(method: str, path: str, status: int) -> dict[str, Any] | None:
    """Return the schema of an answer, as a reference into the document; None: the document names no such answer."""
    try:
        template = "/" + re.sub(r"<str:(\w+)>", r"{\1}", resolve(path).route)
    except Resolver404:
        return None
    operation = document()["paths"].get(template, {}).get(method.lower(), {})
    if str(status) not in operation.get("responses", {}):
        return None
    steps = ["paths", template, method.lower(), "responses", str(status), "content", "application/json", "schema"]
    pointer = "/".join(step.replace("~", "~0").replace("/", "~1") for step in steps)
    return {"$ref": f"urn:document#/{quote(pointer, safe='/~')}"}


@lru_cache(maxsize=1)
def registry() -> Registry[Any]:
    """The document, for references into it."""
    resource: Resource[Any] = Resource.from_contents(absolute(document()), default_specification=DRAFT202012)
    made: Registry[Any] = Registry().with_resource("urn:document", resource)
    return made


def absolute(node: Any) -> Any:
    """Make every reference within the document one that names it."""
    if isinstance(node, dict):
        return {name: f"urn:document{value}" if name == "$ref" else absolute(value) for name, value in node.items()}
    return [absolute(one) for one in node] if isinstance(node, list) else node


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    """Return what checks an answer against a schema of the document."""
    return Draft202012Validator(schema, registry=registry())
