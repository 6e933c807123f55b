"""Idempotency-Key: what is asked twice is done once, and answered the same."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.keys import create_api_key
from accounts.models import Application
from accounts.services import default_application
from api import tasks
from api.idempotency import DIED, KEPT
from api.models import IdempotentRequest
from api.openapi.document import document
from project.shards import on_shard
from sync.models import AccountSync
from tests.api.client import Api, read_json
from tests.api.conftest import ALIASES
from tests.api.mailbox import Mailroom, make_mailroom
from tests.servers.dovecot import Dovecot

pytestmark = pytest.mark.django_db(databases=ALIASES)


def ask(api: Api, room: Mailroom, key: str, *, status: int = 202, path: str = "", **more: Any) -> dict[str, Any]:
    return api.json("POST", path or f"{room.path}/sync", status=status, HTTP_IDEMPOTENCY_KEY=key, **more)


def requested(room: Mailroom) -> int:
    with on_shard(room.id):
        return AccountSync.objects.get(pk=room.id).requested


def test_the_same_key_does_it_once_and_answers_the_same(api: Api, room: Mailroom) -> None:
    first = api.call("POST", f"{room.path}/sync", HTTP_IDEMPOTENCY_KEY="one")
    assert "Idempotent-Response" not in first.headers
    again = api.call("POST", f"{room.path}/sync", HTTP_IDEMPOTENCY_KEY="one")
    assert (again.status_code, again.content) == (first.status_code, first.content)  # type: ignore[attr-defined]
    assert again.headers["Idempotent-Response"] == "true"
    assert again.headers["X-Request-Id"] == read_json(first)["request_id"]
    # the grant may be spelled otherwise
    assert ask(api, room, "one", path="/v3/grants/ada@example.org/sync") == read_json(first)
    assert requested(room) == 1
    assert ask(api, room, "two")["data"] == {"requested": 2}
    assert api.json("POST", f"{room.path}/sync", status=202)["data"] == {"requested": 3}


def test_a_key_belongs_to_its_grant_and_its_application(api: Api, room: Mailroom, application: Application) -> None:
    other = make_mailroom(application, "bob@example.org")
    foreign = make_mailroom(default_application("another"), "bob@example.org")
    stranger = Api(create_api_key(application=default_application("another"), name="x"), api.client)
    for caller, where in ((api, room), (api, other), (stranger, foreign)):
        assert ask(caller, where, "same")["data"] == {"requested": 1}


@pytest.mark.parametrize(
    "changed",
    [
        {"data": b'{"a": 2}'},
        {"data": b""},
        {"query": {"x": 1}},
    ],
)
def test_a_key_that_named_another_request_is_refused(api: Api, room: Mailroom, changed: dict[str, Any]) -> None:
    given: dict[str, Any] = {"data": b'{"a": 1, "b": 2}', "content_type": "application/json"}
    first = ask(api, room, "one", **given)
    assert ask(api, room, "one", **{**given, "data": b'{"b": 2, "a": 1}'}) == first
    refused = ask(api, room, "one", status=409, **{**given, **changed})["error"]
    assert refused["type"] == "api.invalid_idempotent_request"
    assert requested(room) == 1


@pytest.mark.parametrize("name", ["", "x" * 257, "caf\u00e9", "a\tb"])
def test_a_key_that_cannot_be_is_refused(api: Api, room: Mailroom, name: str) -> None:
    assert ask(api, room, name, status=400)["error"]["type"] == "api.invalid_idempotency_key"
    assert ask(api, room, "x" * 256)["data"] == {"requested": 1}


def test_a_request_that_is_being_worked_on_is_told_so_and_taken_over_when_it_died(api: Api, room: Mailroom) -> None:
    ask(api, room, "one")
    IdempotentRequest.objects.update(status=None)
    response = api.call("POST", f"{room.path}/sync", HTTP_IDEMPOTENCY_KEY="one")
    assert response.status_code == 409
    assert response.headers["Retry-After"] == "1"
    assert read_json(response)["error"]["type"] == "api.concurrent_idempotent_request"
    IdempotentRequest.objects.update(claimed_at=timezone.now() - DIED - timedelta(seconds=1))
    assert ask(api, room, "one")["data"] == {"requested": 2}
    assert ask(api, room, "one")["data"] == {"requested": 2}


def test_answers_are_forgotten_after_an_hour(api: Api, room: Mailroom) -> None:
    ask(api, room, "old")
    IdempotentRequest.objects.update(claimed_at=timezone.now() - KEPT - timedelta(seconds=1))
    ask(api, room, "young")
    assert ask(api, room, "old")["data"] == {"requested": 3}
    IdempotentRequest.objects.filter(key="old").update(claimed_at=timezone.now() - KEPT - timedelta(seconds=1))
    tasks.forget_answers()
    assert [one.key for one in IdempotentRequest.objects.all()] == ["young"]


def connect(api: Api, body: Any, status: int) -> dict[str, Any]:
    return api.json(
        "POST", "/v3/connect/custom", status=status, data=json.dumps(body).encode(), content_type="application/json",
        HTTP_IDEMPOTENCY_KEY="connect",
    )  # fmt: skip


@pytest.mark.server("dovecot")
def test_an_error_is_not_kept_and_no_secret_is(api: Api, dovecot: Dovecot) -> None:
    user = dovecot.new_user()
    settings = {
        "email": "ada@example.org", "imap_username": user.username, "imap_password": "wrong", "imap_host": user.host,
        "imap_port": user.port, "imap_security": "none",
    }  # fmt: skip
    body = {"provider": "imap", "settings": settings}
    connect(api, body, 400)
    assert not IdempotentRequest.objects.exists()
    settings["imap_password"] = user.password
    first = connect(api, body, 201)
    assert connect(api, body, 201) == first
    kept = IdempotentRequest.objects.get()
    assert user.password not in kept.body
    settings["imap_password"] = "wrong"
    connect(api, body, 409)


def test_every_post_that_is_served_takes_a_key() -> None:
    posts = [methods["post"] for methods in document()["paths"].values() if "post" in methods]
    assert posts
    for one in posts:
        assert "Idempotency-Key" in [each["name"] for each in one["parameters"]]
        assert "409" in one["responses"]
