"""Finding an account: by email, or by the id of anything that belongs to it, over every shard."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path

from accounts.admin.base import HelpfulList
from accounts.models import GrantDirectory
from project.shards import UnknownShard, id_range, on_shard, shard_of, shards
from sync.admin import account, actions, bodies, letters, log
from sync.admin.opened import Page, opened
from sync.admin.times import ago
from sync.models import AccountSync, Folder, Message, Thread


class ShardFilter(admin.SimpleListFilter):
    """In which database an account is; not shown where there is only one."""

    title = "shard"
    parameter_name = "shard"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the shards that have a database."""
        every = shards()
        return [(str(shard), f"shard {shard}") for shard in every] if len(every) > 1 else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[GrantDirectory]) -> QuerySet[GrantDirectory]:
        """Narrow the list to the ids of a shard."""
        chosen = self.value()
        return queryset.filter(pk__range=id_range(int(chosen))) if chosen else queryset


class Looks(ChangeList):
    """The list of accounts, each with how its mirror is: one query a shard, whatever the page."""

    def get_results(self, request: HttpRequest) -> None:
        """Read the page, then what its accounts' shards say of them."""
        super().get_results(request)
        grants: list[Any] = list(self.result_list)
        by_shard: dict[int, list[int]] = {}
        for grant in grants:
            by_shard.setdefault(shard_of(grant.pk), []).append(grant.pk)
        found = {one.pk: one for shard, ids in by_shard.items() for one in _looks(shard, ids)}
        for grant in grants:
            grant.look = found.get(grant.pk)
        self.result_list = grants


def _looks(shard: int, ids: list[int]) -> list[AccountSync]:
    """Read the state of accounts of a shard; nothing where it does not answer: its accounts are still listed."""
    try:
        with on_shard(shard=shard):
            return list(AccountSync.objects.filter(pk__in=ids))
    except (UnknownShard, OperationalError):
        return []


def owners_of(row_id: int) -> set[int]:
    """Return the accounts that an id may mean: its own, or that of a message, thread or folder."""
    owners = {row_id}
    try:
        with on_shard(row_id):
            for model in (Message, Thread, Folder):
                owners |= set(model.objects.filter(pk=row_id).values_list("account_id", flat=True))
    except (UnknownShard, OperationalError):
        pass
    return owners


@admin.register(GrantDirectory)
class AccountAdmin(HelpfulList[GrantDirectory]):
    """Accounts are found and opened here; they are connected and removed over the API or by commands."""

    list_display = ("email", "status", "provider", "application", "compared", "trouble", "shard")
    list_filter = ("status", "provider", "application", ShardFilter)
    list_select_related = ("application",)
    search_fields = ("email",)
    search_help_text = "An email or a part of it; or the id of an account, message, thread or folder."
    ordering = ("email", "pk")
    empty_text = (
        "No account is connected. Connect one over the API (POST /v3/connect/custom), "
        "or on the server: manage.py connect_account EMAIL"
    )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the list that also reads from the shards."""
        return Looks

    def get_urls(self) -> list[URLPattern]:
        """Put the pages about one account before Django's own."""
        base = "<int:account_id>/"

        def at(route: str, page: Page, permission: str, name: str) -> URLPattern:
            return path(base + route, opened(self.admin_site, page, permission), name=name)

        return [
            at("change/", account.page, "accounts.view_grantdirectory", "sync_account"),
            at("log/", log.page, "accounts.view_transaction", "sync_log"),
            at("messages/", letters.page, "sync.view_message", "sync_messages"),
            at("messages/<int:message_id>/", bodies.message_page, "sync.view_message", "sync_message"),
            at("messages/<int:message_id>/body/", bodies.body_page, "accounts.open_body", "sync_body"),
            at("messages/<int:message_id>/raw/", bodies.download, "accounts.open_body", "sync_raw"),
            at("pause/", actions.pause, "accounts.operate", "sync_pause"),
            at("resume/", actions.resume, "accounts.operate", "sync_resume"),
            at("resync/", actions.resync, "accounts.operate", "sync_resync"),
            *super().get_urls(),
        ]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[GrantDirectory], search_term: str
    ) -> tuple[QuerySet[GrantDirectory], bool]:
        """Find by email or id."""
        word = search_term.strip().lower()
        found = Q(email__contains=word)
        if word.isdecimal():
            found |= Q(pk__in=owners_of(int(word)))
        return queryset.filter(found) if word else queryset, False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody: connecting proves the login first."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: GrantDirectory | None = None) -> bool:
        """Nobody: what may be done with an account has pages of its own."""
        return False

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Refuse: what was done is in the audit log."""
        raise PermissionDenied("What staff did with an account is in the audit log.")

    @admin.display(description="compared")
    def compared(self, grant: GrantDirectory) -> str:
        """When it was last found equal to the server."""
        look: AccountSync | None = grant.look  # type: ignore[attr-defined]
        if look is None:
            return "not known"
        return "never" if look.last_synced_at is None else f"{ago(look.last_synced_at)} ago"

    @admin.display(description="last error")
    def trouble(self, grant: GrantDirectory) -> str:
        """What went wrong at its last look."""
        look: AccountSync | None = grant.look  # type: ignore[attr-defined]
        if look is None:
            return "its shard does not answer, or it is being connected or removed"
        return f"{look.last_error} ({look.failures} in a row)" if look.failures else look.last_error or "–"

    @admin.display(description="shard")
    def shard(self, grant: GrantDirectory) -> int:
        """In which database it is."""
        return shard_of(grant.pk)
