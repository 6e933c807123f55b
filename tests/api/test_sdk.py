"""The official Python SDK, unmodified, against gunicorn as `up` runs it; and what only a real server shows."""

from __future__ import annotations

import http.client
import json
import socket
import warnings
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from nylas import Client
from nylas.models.errors import NylasApiError

from accounts.models import Application
from project.shards import on_shard
from sync.models import AccountSync
from tests.api.conftest import ALIASES
from tests.api.mailbox import EPOCH, Mailroom, mail, make_mailroom
from tests.servers.dovecot import Dovecot

pytestmark = pytest.mark.django_db(transaction=True, databases=ALIASES)


@pytest.fixture
def sdk(served: str, key: str) -> Client:
    return Client(api_key=key, api_uri=served)


def raw_call(served: str, method: str, path: str, key: str, **more: object) -> tuple[http.client.HTTPResponse, bytes]:
    """Make a request without any library's help."""
    at = urlsplit(served)
    connection = http.client.HTTPConnection(at.hostname or "", at.port, timeout=30)
    headers = {"Authorization": f"Bearer {key}", **more.pop("headers", {})}  # type: ignore[dict-item]
    connection.request(method, path, headers=headers, **more)  # type: ignore[arg-type]
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


def test_messages_are_listed_paged_and_found(sdk: Client, room: Mailroom) -> None:
    stored = [room.add(mail(f"{n}", html=f"<p>{n}</p>"), flags=("\\Seen",) if n % 2 else ()) for n in range(5)]
    grant = str(room.id)
    found, request_id, cursor, headers = sdk.messages.list(grant, query_params={"limit": 2})
    assert [one.subject for one in found] == ["4", "3"]
    assert found[0].from_[0]["email"] == "ada@example.org"
    assert (found[0].folders, found[0].unread, found[0].object) == ([str(room.folder("INBOX").pk)], True, "message")
    assert headers["x-request-id"] == request_id
    rest = sdk.messages.list(grant, query_params={"limit": 50, "page_token": cursor})
    assert [one.subject for one in rest.data] == ["2", "1", "0"]
    assert rest.next_cursor is None
    seen = sdk.messages.list(grant, query_params={"unread": False, "in": [str(room.folder("INBOX").pk)]})
    assert [one.id for one in seen.data] == [str(stored[3].pk), str(stored[1].pk)]
    one = sdk.messages.find(grant, str(stored[0].pk), query_params={"fields": "include_headers"}).data
    assert one.body.strip() == "<p>0</p>"
    assert one.date == int(EPOCH.timestamp()) + 60
    assert "Message-ID" in [header.name for header in one.headers]
    raw = sdk.messages.find(grant, str(stored[0].pk), query_params={"fields": "raw_mime"}).data
    assert raw.raw_mime
    selected = sdk.messages.list(grant, query_params={"select": "id,subject", "thread_id": str(stored[1].thread_id)})
    assert (selected.data[0].subject, selected.data[0].body) == ("1", None)


def test_drafts_threads_and_folders_are_listed_and_found(sdk: Client, room: Mailroom) -> None:
    first = room.add(mail("Plan", Message_ID="<a@x>"))
    draft = room.add(mail("Re: Plan", In_Reply_To="<a@x>"), "Drafts", flags=("\\Draft",))
    grant = str(room.id)
    assert [one.id for one in sdk.drafts.list(grant).data] == [str(draft.pk)]
    assert sdk.drafts.find(grant, str(draft.pk)).data.subject == "Re: Plan"
    (thread,) = sdk.threads.list(grant, query_params={"unread": True}).data
    assert (thread.message_ids, thread.draft_ids) == ([str(first.pk)], [str(draft.pk)])
    assert thread.latest_draft_or_message.object == "draft"
    assert sdk.threads.find(grant, thread.id).data.has_drafts is True
    folders = sdk.folders.list(grant).data
    assert [one.name for one in folders] == ["INBOX", "Drafts"]
    assert (folders[0].total_count, folders[0].unread_count) == (1, 1)
    assert sdk.folders.find(grant, folders[1].id).data.id == folders[1].id


def test_attachments_are_described_and_downloaded(sdk: Client, room: Mailroom) -> None:
    files = [("a.txt", "text/plain", b"text"), ("b.bin", "application/x-b", bytes(3_000_000)), ("c", "text/x", b"")]
    stored = room.add(mail("x", attachments=files))
    grant, query = str(room.id), {"message_id": str(stored.pk)}
    (message,) = sdk.messages.list(grant).data
    for attachment, (filename, content_type, content) in zip(message.attachments, files, strict=True):
        told = sdk.attachments.find(grant, attachment.id, query_params=query).data
        assert (told.filename, told.content_type, told.size) == (filename, content_type, len(content))
        assert (sdk.attachments.download_bytes(grant, attachment.id, query_params=query) or b"") == content


@pytest.mark.server("dovecot")
def test_a_grant_is_connected_listed_found_and_removed(sdk: Client, dovecot: Dovecot) -> None:
    user = dovecot.new_user()
    settings = {
        "email": "ada@example.org", "imap_username": user.username, "imap_password": user.password,
        "imap_host": user.host, "imap_port": user.port, "imap_security": "none",
    }  # fmt: skip
    grant = sdk.auth.custom_authentication({"provider": "imap", "settings": settings}).data
    assert (grant.provider, grant.email, grant.grant_status) == ("imap", "ada@example.org", "valid")
    assert [one.id for one in sdk.grants.list(query_params={"limit": 5}).data] == [grant.id]
    assert sdk.grants.find(grant.id).data.email == "ada@example.org"
    assert sdk.folders.list(grant.email).data == []
    changed = sdk.grants.update(grant.id, {"settings": {"imap_password": user.password, "sync_days": 7}}).data
    assert (changed.id, changed.settings["sync_days"]) == (grant.id, 7)
    with pytest.raises(NylasApiError) as wrong:
        sdk.grants.update(grant.id, {"settings": {"imap_password": "wrong"}})
    assert (wrong.value.type, wrong.value.provider_error["stage"]) == ("provider_error", "login")
    assert sdk.grants.destroy(grant.id).request_id
    with pytest.raises(NylasApiError) as gone:
        sdk.grants.find(grant.id)
    assert (gone.value.type, gone.value.status_code) == ("not_found_error", 404)


@pytest.mark.server("dovecot")
def test_a_request_with_a_name_is_done_once(sdk: Client, dovecot: Dovecot) -> None:
    user = dovecot.new_user()
    settings = {
        "email": "ada@example.org", "imap_username": user.username, "imap_password": user.password,
        "imap_host": user.host, "imap_port": user.port, "imap_security": "none",
    }  # fmt: skip
    body = {"provider": "imap", "settings": settings}
    named = {"headers": {"Idempotency-Key": "the first"}}
    first = sdk.auth.custom_authentication(body, overrides=named)
    again = sdk.auth.custom_authentication(body, overrides=named)
    assert (again.data.id, again.request_id) == (first.data.id, first.request_id)
    assert (again.headers["Idempotent-Response"], again.headers["x-request-id"]) == ("true", first.request_id)
    with pytest.raises(NylasApiError) as other:
        sdk.auth.custom_authentication({**body, "state": "x"}, overrides=named)
    assert (other.value.type, other.value.status_code) == ("api.invalid_idempotent_request", 409)


def test_many_who_ask_with_one_name_at_once_are_answered_by_one_pass(served: str, key: str, room: Mailroom) -> None:
    def ask(_number: int) -> tuple[int, str | int]:
        response, body = raw_call(served, "POST", f"{room.path}/sync", key, headers={"Idempotency-Key": "at once"})
        answer = json.loads(body)
        return response.status, answer["error"]["type"] if "error" in answer else answer["data"]["requested"]

    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(ask, range(24)))
    assert (202, 1) in answers
    assert answers <= {(202, 1), (409, "api.concurrent_idempotent_request")}
    with on_shard(room.id):
        assert AccountSync.objects.get(pk=room.id).requested == 1


def test_errors_reach_the_sdk_as_they_are(sdk: Client, served: str, room: Mailroom) -> None:
    grant = str(room.id)
    with pytest.raises(NylasApiError) as wrong:
        sdk.messages.list(grant, query_params={"limit": 201})
    assert (wrong.value.type, wrong.value.status_code) == ("invalid_request_error", 400)
    assert wrong.value.request_id == wrong.value.headers["x-request-id"]
    with pytest.raises(NylasApiError) as refused:
        Client(api_key="wrong", api_uri=served).messages.list(grant)
    assert (refused.value.type, refused.value.status_code) == ("unauthorized", 401)
    with pytest.raises(NylasApiError) as unknown:
        sdk.contacts.list(grant)
    assert (unknown.value.type, unknown.value.status_code) == ("not_found_error", 404)
    with pytest.raises(NylasApiError) as port:
        sdk.auth.custom_authentication(
            {"provider": "imap", "settings": {"imap_username": "a@example.org", "imap_password": "x", "imap_port": 0}}
        )
    assert "imap_port" in str(port.value)


def test_the_sdk_names_grants_by_their_email(sdk: Client, application: Application) -> None:
    room = make_mailroom(application, "a+b@example.org", shard=1)
    room.add(mail())
    assert len(sdk.messages.list("a+b@example.org").data) == 1


def test_no_answer_makes_the_sdk_warn(sdk: Client, served: str, room: Mailroom) -> None:
    room.add(mail("x", attachments=[("a", "text/plain", b"a")]))
    grant = str(room.id)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sdk.messages.list(grant)
        sdk.threads.list(grant)
        sdk.drafts.list(grant)
        sdk.folders.list(grant)
        sdk.grants.list()
        sdk.applications.info()


@pytest.mark.parametrize("path", ["//v3/grants", "///v3/grants"])
def test_doubled_slashes_reach_the_views(served: str, key: str, path: str) -> None:
    response, body = raw_call(served, "GET", path, key)
    assert (response.status, json.loads(body)["data"]) == (200, [])


def test_a_chunked_body_reaches_the_view(served: str, key: str) -> None:
    body = json.dumps({"provider": "carrier pigeon", "pad": "x" * 200_000}).encode()
    pieces = (body[at : at + 7000] for at in range(0, len(body), 7000))
    headers = {"Transfer-Encoding": "chunked", "Content-Type": "application/json"}
    response, answer = raw_call(
        served, "POST", "/v3/connect/custom", key, body=pieces, headers=headers, encode_chunked=True
    )
    assert response.status == 400
    assert "carrier pigeon" in json.loads(answer)["error"]["message"]


def test_a_connection_is_kept_alive_over_errors_and_streams(served: str, key: str, room: Mailroom) -> None:
    raw = mail("x", text="y" * 2_000_000)
    stored = room.add(raw)
    at = urlsplit(served)
    connection = http.client.HTTPConnection(at.hostname or "", at.port, timeout=30)
    for path, status in (
        (f"{room.path}/messages/{stored.pk}/raw", 200),
        ("/v3/nothing", 404),
        (f"{room.path}/messages?limit=0", 400),
        (f"{room.path}/messages/{stored.pk}/raw", 200),
    ):
        connection.request("GET", path, headers={"Authorization": f"Bearer {key}"})
        response = connection.getresponse()
        body = response.read()
        assert response.status == status
        assert body == raw if status == 200 else "error" in json.loads(body)
    connection.close()


def test_a_caller_who_hangs_up_in_a_stream_harms_nobody(served: str, key: str, room: Mailroom) -> None:
    stored = room.add(mail("x", text="y" * 5_000_000))
    at = urlsplit(served)
    for _ in range(20):
        with socket.create_connection((at.hostname or "", at.port or 0)) as caller:
            request = f"GET {room.path}/messages/{stored.pk}/raw HTTP/1.1\r\nHost: {at.netloc}\r\n"
            caller.sendall(f"{request}Authorization: Bearer {key}\r\n\r\n".encode())
            caller.recv(100)
    response, body = raw_call(served, "GET", f"{room.path}/messages", key)
    assert (response.status, len(json.loads(body)["data"])) == (200, 1)


def test_the_head_of_a_mail_is_told_without_its_body(served: str, key: str, room: Mailroom) -> None:
    raw = mail()
    response, body = raw_call(served, "HEAD", f"{room.path}/messages/{room.add(raw).pk}/raw", key)
    assert (response.status, response.headers["Content-Length"], body) == (200, str(len(raw)), b"")
