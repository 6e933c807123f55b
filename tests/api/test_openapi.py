"""The OpenAPI document names exactly what is served, and the page that shows it asks no other host."""

from __future__ import annotations

import re

import pytest
from django.test import Client
from openapi_spec_validator import validate

from api.openapi.document import document
from api.openapi.schemas import MESSAGE_PROPERTIES
from api.urls import urlpatterns
from api.views.base import ApiView
from tests.api.client import Api, content
from tests.api.conftest import ALIASES
from tests.api.mailbox import Mailroom, mail

#: Served to people beside the API.
PAGES = {"/docs"}


def routes() -> dict[str, set[str]]:
    """Path -> the methods that its view has."""
    found = {}
    for pattern in urlpatterns:
        path = "/" + re.sub(r"<str:(\w+)>", r"{\1}", str(pattern.pattern))
        view = getattr(pattern.callback, "cls", None)
        if view is not None:
            assert issubclass(view, ApiView)
            found[path] = {name for name in ApiView.http_method_names if name != "head" and hasattr(view, name)}
        else:
            assert path in PAGES
    return found


def test_the_document_names_each_path_and_method_and_no_other() -> None:
    described = {path: set(operations) for path, operations in document()["paths"].items()}
    assert described == routes()


def test_the_document_is_valid_openapi_3_1() -> None:
    assert document()["openapi"].startswith("3.1")
    validate(document())


def test_every_operation_is_named_once_and_tells_its_parameters() -> None:
    operations = [one for methods in document()["paths"].values() for one in methods.values()]
    ids = [one["operationId"] for one in operations]
    assert len(set(ids)) == len(ids)
    for path, methods in document()["paths"].items():
        for one in methods.values():
            told = {each["name"] for each in one.get("parameters", []) if each["in"] == "path"}
            assert told == set(re.findall(r"\{(\w+)\}", path))
            assert one["summary"]


def test_the_document_is_served_without_a_key() -> None:
    response = Client().get("/v3/openapi.json")
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    assert response.json() == document()
    assert document()["paths"]["/v3/openapi.json"]["get"].get("security", []) == []
    assert document()["paths"]["/v3/grants"]["get"]["security"] == [{"ApiKey": []}]


@pytest.mark.django_db(databases=ALIASES)
def test_a_whole_message_has_every_property_that_is_described(api: Api, room: Mailroom) -> None:
    stored = room.add(mail())
    one = api.get(f"{room.path}/messages/{stored.pk}", {"fields": "include_headers"})["data"]
    assert set(one) == set(MESSAGE_PROPERTIES) - {"raw_mime"}


def test_the_reference_page_loads_from_this_host_alone() -> None:
    page = Client().get("/docs")
    assert page.status_code == 200
    text = content(page).decode()
    assert not re.search(r"(src|href)=\"(https?:)?//", text)
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    linked = re.findall(r"(?:src|href|data-document)=\"([^\"]+)\"", text)
    assert len(linked) == 5
    for path in linked:
        response = Client().get(path)
        assert response.status_code == 200, path
        assert content(response)
