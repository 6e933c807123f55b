"""Every answer is the envelope, whoever made it, and no path redirects."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from django.db import OperationalError, connections, transaction
from django.test import Client

from accounts.changelog.recorder import lock_account
from project.shards import alias_at_hand, alias_of, shard_of
from tests.api.client import Api
from tests.api.conftest import ALIASES
from tests.api.mailbox import Mailroom, mail

pytestmark = pytest.mark.django_db(databases=ALIASES)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v3", 404),
        ("GET", "/v3/", 404),
        ("GET", "/v3/grants/", 404),
        ("GET", "/v3/nothing", 404),
        ("GET", "/v3/scheduling/configurations", 404),
        ("GET", "/v3/grants/1/notetakers", 404),
        ("GET", "/v3/grants/1/messages/2/3", 404),
        ("GET", "/favicon.ico", 404),
        ("DELETE", "/v3/grants", 405),
        ("OPTIONS", "/v3/grants", 405),
        ("TRACE", "/v3/grants", 405),
        ("POST", "/v3/openapi.json", 405),
        ("POST", "/docs", 405),
    ],
)
def test_what_is_not_served_is_answered_in_the_envelope(api: Api, method: str, path: str, status: int) -> None:
    error = api.error(path, status=status, method=method)
    assert error["type"] == {404: "not_found_error", 405: "method_not_allowed"}[status]


def test_errors_carry_the_members_of_rfc_9457(api: Api) -> None:
    body = api.get("/v3/grants", {"limit": "x"}, status=400)
    assert body["type"].startswith("urn:")
    assert (body["title"], body["status"]) == ("Bad Request", 400)
    assert body["detail"] == body["error"]["message"]


def test_a_405_says_what_is_allowed(api: Api) -> None:
    assert "GET" in api.call("DELETE", "/v3/grants").headers["Allow"]


def test_each_answer_has_a_request_id_of_its_own(api: Api) -> None:
    ids = {api.get("/v3/grants")["request_id"] for _ in range(3)}
    assert len({uuid.UUID(one) for one in ids}) == 3


def test_a_caller_cannot_choose_the_request_id(api: Api) -> None:
    assert api.get("/v3/grants", HTTP_X_REQUEST_ID="mine")["request_id"] != "mine"


def test_a_bug_is_a_500_in_the_envelope_that_tells_nothing(
    api: Api, room: Mailroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object, **_named: object) -> None:
        raise RuntimeError("password hunter2")

    monkeypatch.setattr("api.views.mail.find_messages", fail)
    error = api.error(f"{room.path}/messages", status=500)
    assert error["type"] == "api.internal_error"
    assert "hunter2" not in error["message"]
    # the shard at hand is let go on every way out
    assert alias_at_hand() == "default"


def test_an_unknown_host_is_a_400_in_the_envelope(api: Api) -> None:
    assert api.error("/v3/grants", status=400, HTTP_HOST="evil.example")["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"3", "application/json", 400),
        (b"null", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b'{"provider": NaN}', "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"9" * 10_000, "application/json", 400),
        (b"", "application/json", 400),
        (b"a=b", "application/x-www-form-urlencoded", 415),
        (b"<a/>", "text/xml", 415),
        (b"{}", "application/json; charset=utf-8", 400),
    ],
)
def test_a_malformed_body_is_refused_in_the_envelope(api: Api, body: bytes, content_type: str, status: int) -> None:
    api.error("/v3/connect/custom", status=status, method="POST", data=body, content_type=content_type)


def test_a_body_over_the_limit_is_413(api: Api, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    body = json.dumps({"provider": "x" * 2000}).encode()
    error = api.error("/v3/connect/custom", status=413, method="POST", data=body, content_type="application/json")
    assert error["type"] == "request_too_large"


@pytest.mark.parametrize("accept", ["text/html", "message/rfc822", "application/xml", "nonsense"])
def test_any_accept_header_gets_json(api: Api, accept: str) -> None:
    api.get("/v3/grants", HTTP_ACCEPT=accept)


def test_a_doubled_leading_slash_is_tolerated(api: Api, room: Mailroom) -> None:
    assert api.call("GET", "/", PATH_INFO=f"/{room.path}/messages").status_code == 200
    assert api.call("GET", "/", PATH_INFO="//v3/nothing").status_code == 404


def test_unknown_parameters_are_ignored(api: Api, room: Mailroom) -> None:
    room.add(mail())
    plain = api.get(f"{room.path}/messages")["data"]
    assert plain
    assert api.get(f"{room.path}/messages", {"utterly": "unknown", "format": "xml"})["data"] == plain


def test_nothing_redirects(api: Api, room: Mailroom) -> None:
    for path in ("/v3/grants", "/v3/grants/", room.path, f"{room.path}/"):
        assert api.call("GET", path).status_code not in range(300, 400)


def test_no_answer_needs_a_cookie_or_a_csrf_token(room: Mailroom, key: str) -> None:
    strict = Api(key, Client(enforce_csrf_checks=True))
    assert strict.json("POST", f"{room.path}/sync", status=202)["data"]["requested"] == 1
    assert "Set-Cookie" not in strict.call("GET", room.path).headers


@pytest.mark.django_db(transaction=True, databases=ALIASES)
def test_an_account_that_is_busy_is_503_with_retry_after(api: Api, room: Mailroom) -> None:
    alias = alias_of(shard_of(room.id))
    with connections[alias].cursor() as cursor:
        cursor.execute("SET lock_timeout = '100ms'")
    held = connections.create_connection(alias)
    try:
        with held.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("SELECT 1 FROM accounts_transactionhead FOR UPDATE")
        response = api.call("DELETE", room.path)
        assert response.status_code == 503
        assert int(response.headers["Retry-After"]) > 0
        assert "busy" in json.loads(response.content)["error"]["message"]  # type: ignore[attr-defined]
    finally:
        held.close()
        connections[alias].close()


def test_a_query_that_takes_too_long_is_503_and_names_the_filter(
    api: Api, room: Mailroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(account_id: int, *_arguments: object, **_named: object) -> None:
        alias = alias_of(shard_of(account_id))
        with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = '10ms'")
            cursor.execute("SELECT pg_sleep(5)")

    monkeypatch.setattr("api.views.mail.find_messages", slow)
    error = api.error(f"{room.path}/messages", {"has_attachment": "true", "limit": "5"}, status=503)
    assert error["type"] == "api.unavailable"
    assert "has_attachment" in error["message"]
    assert "limit" not in error["message"]


def test_a_database_that_is_away_is_503(api: Api, room: Mailroom, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_arguments: object, **_named: object) -> None:
        raise OperationalError("connection refused: host=10.1.2.3 password=x")

    monkeypatch.setattr("api.auth.find_api_key", away)
    assert "10.1.2.3" not in api.error(room.path, status=503)["message"]


def test_the_lock_of_an_account_does_not_hold_up_readers(api: Api, room: Mailroom) -> None:
    room.add(mail())
    with lock_account(room.id):
        assert len(api.get(f"{room.path}/messages")["data"]) == 1
