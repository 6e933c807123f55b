"""Around every page about one account: who may see it, which account, which shard, and what to say where that fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse

from accounts.admin.base import require
from accounts.models import GrantDirectory
from project.shards import UnknownShard, alias_of, on_shard, shard_of

#: Permission -> what the form of a user calls it.
PERMISSIONS = {
    "accounts.view_auditentry": "Can view audit entry",
    "accounts.view_grantdirectory": "Can view account",
    "accounts.view_transaction": "Can view transaction",
    "accounts.operate": "Can pause, resume and resync accounts",
    "accounts.open_body": "Can open the bodies of messages",
    "sync.view_message": "Can view message",
}


@dataclass(frozen=True, slots=True)
class Opened:
    """An account that a staff member has open."""

    site: AdminSite
    grant: GrantDirectory

    @property
    def id(self) -> int:
        """Of the account."""
        return self.grant.account_id

    def url(self, name: str, *arguments: int) -> str:
        """Return the address of a page about it."""
        return reverse(f"admin:{name}", args=[self.id, *arguments])

    def page(
        self, request: HttpRequest, template: str, *, title: str, status: int = 200, **context: Any
    ) -> HttpResponse:
        """Render a page about it at once, while its shard is at hand."""
        may = {name.partition(".")[2]: request.user.has_perm(name) for name in PERMISSIONS}
        shared = {**self.site.each_context(request), "grant": self.grant, "may": may, "title": title}
        return render(request, f"admin/sync/{template}.html", {**shared, **context}, status=status)


#: A page about an account; what it reads of the account, it reads before it returns.
Page = Callable[..., HttpResponseBase]


def opened(site: AdminSite, page: Page, permission: str) -> Page:
    """Return the view of a page: it takes `account_id` and what else the address holds."""

    def view(request: HttpRequest, account_id: int, **more: int) -> HttpResponseBase:
        require(request, permission, PERMISSIONS[permission])
        grant = GrantDirectory.objects.select_related("application").filter(pk=account_id).first()
        if grant is None:
            messages.error(request, f"No account {account_id} is connected (any more). Search by email or id.")
            return HttpResponseRedirect(reverse("admin:accounts_grantdirectory_changelist"))
        try:
            with on_shard(account_id):
                return page(request, Opened(site, grant), **more)
        except UnknownShard as error:
            return unreachable(request, site, str(error))
        except OperationalError as error:
            return unreachable(request, site, database_trouble(account_id, error))

    return site.admin_view(view)


def database_trouble(account_id: int, error: OperationalError) -> str:
    """Say which database failed, and what to look at."""
    shard = shard_of(account_id)
    setting = "DATABASE_URL" if shard == 0 else f"SHARD_{shard}_URL"
    reason = str(error).strip().partition("\n")[0]
    return (
        f"The database of shard {shard} ({alias_of(shard)}) did not answer: {reason}. "
        f"Check that it runs and that {setting} names it, then load this page again."
    )


def unreachable(request: HttpRequest, site: AdminSite, reason: str) -> HttpResponse:
    """Answer 503: the account's database cannot be read."""
    context = {**site.each_context(request), "title": "This account cannot be read now", "reason": reason}
    return render(request, "admin/sync/unreachable.html", context, status=503)
