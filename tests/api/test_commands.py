"""Commands on the terminal, for accounts of every shard."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounts.keys import find_api_key
from accounts.models import ApiKey, Application, Credential, GrantDirectory, Status
from accounts.secrets import seal
from accounts.services import CREDENTIAL
from project.shards import on_shard
from tests.api.client import Api
from tests.api.conftest import ALIASES
from tests.api.mailbox import Mailroom, mail
from tests.bare import bare

pytestmark = pytest.mark.django_db(databases=ALIASES)


def run(*arguments: str, **options: Any) -> str:
    out = StringIO()
    bare(call_command, *arguments, stdout=out, **options)
    return out.getvalue()


def test_create_api_key_prints_the_key_alone() -> None:
    printed = run("create_api_key", "laptop")
    key = find_api_key(printed.removesuffix("\n"))
    assert key is not None
    assert (key.name, key.application.name, key.scopes) == ("laptop", "default", ["read", "write", "admin"])
    assert printed.strip() not in str(ApiKey.objects.values())


def test_create_api_key_makes_its_application_and_limits_its_scopes() -> None:
    for _ in range(2):
        key = find_api_key(run("create_api_key", "x", "--application", "shop", "--scopes", "write, read").strip())
        assert key is not None
        assert (key.application.name, key.scopes) == ("shop", ["read", "write"])
    assert Application.objects.filter(name="shop").count() == 1


@pytest.mark.parametrize("scopes", ["root", "read,root", ""])
def test_create_api_key_refuses_unknown_scopes_and_makes_nothing(scopes: str) -> None:
    with pytest.raises(CommandError, match="read, write, admin"):
        run("create_api_key", "x", "--application", "shop", "--scopes", scopes)
    assert not Application.objects.filter(name="shop").exists()


def test_changes_prints_the_log_a_change_a_line(api: Api, room: Mailroom) -> None:
    for n in range(3):
        room.add(mail(f"{n}"))
    served = api.get(f"{room.path}/changes", {"limit": 500})["data"]
    for name in (str(room.id), "ada@example.org"):
        assert [json.loads(line) for line in run("changes", name).splitlines()] == served
    rest = run("changes", str(room.id), "--since", served[2]["cursor"])
    behind = api.get(f"{room.path}/changes", {"limit": 500, "since": served[2]["cursor"]})["data"]
    assert [json.loads(line) for line in rest.splitlines()] == behind
    assert len(behind) == len(served) - 3


def test_changes_says_what_is_wrong_in_a_line(room: Mailroom) -> None:
    for wrong in (("nobody@example.org",), (str(room.id), "--since", "x")):
        with pytest.raises(CommandError) as refused:
            run("changes", *wrong)
        assert "\n" not in str(refused.value)


def test_an_account_is_paused_and_resumed_by_its_address(room: Mailroom) -> None:
    run("pause_account", "Ada@example.org")
    assert GrantDirectory.objects.get(pk=room.id).status == Status.PAUSED
    run("resume_account", str(room.id))
    assert GrantDirectory.objects.get(pk=room.id).status == Status.VALID


def test_sync_status_tells_of_every_account_that_is_there(room: Mailroom, application: Application) -> None:
    room.add(mail())
    # connecting has named it, and has not stored it yet
    GrantDirectory.objects.create(account_id=77_000, application=application, email="x@example.org", provider="imap")
    (told,) = json.loads(run("sync_status", "--json"))
    assert (told["grant_id"], told["email"], told["state"]) == (str(room.id), "ada@example.org", "idle")
    assert "INBOX" in run("sync_status")


def test_rotate_keys_reads_the_secrets_of_every_shard(room: Mailroom) -> None:
    with on_shard(room.id):
        Credential.objects.create(account_id=room.id, sealed=seal("{}", context=CREDENTIAL))
    assert "1" in run("rotate_keys")
