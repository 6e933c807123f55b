"""The audit log: what staff did, for whoever must answer for it. It is read here, and nothing else."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from accounts.admin.base import HelpfulList
from accounts.models import AuditEntry, GrantDirectory


@admin.register(AuditEntry)
class AuditEntryAdmin(HelpfulList[AuditEntry]):
    """Entries newest first, found by staff member, email or account."""

    list_display = ("at", "username", "action", "account", "about", "address")
    list_filter = ("action", "at", "username")
    list_display_links = ("at",)
    search_fields = ("username",)
    search_help_text = "The name of a staff member, the email of an account, or a grant id."
    ordering = ("-at", "-pk")
    fields = ("at", "username", "action", "account", "about", "address")
    readonly_fields = fields
    empty_text = "Nothing is recorded yet: opened mails, paused, resumed and resynced accounts, and API keys will be."

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuditEntry]:
        """Return the entries with the email of each account, as far as it is still connected."""
        emails = GrantDirectory.objects.filter(pk=OuterRef("account_id")).values("email")
        return super().get_queryset(request).annotate(email=Subquery(emails[:1]))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[AuditEntry], search_term: str
    ) -> tuple[QuerySet[AuditEntry], bool]:
        """Find by staff member, email or account id."""
        word = search_term.strip()
        if not word:
            return queryset, False
        accounts = GrantDirectory.objects.filter(email__contains=word.lower()).values("pk")
        found = Q(username__icontains=word) | Q(account_id__in=accounts)
        if word.isdecimal():
            found |= Q(account_id=int(word))
        return queryset.filter(found), False

    @admin.display(description="account", ordering="account_id")
    def account(self, entry: AuditEntry) -> str:
        """The account it was about, with a link to it."""
        if entry.account_id is None:
            return "–"
        email = entry.email  # type: ignore[attr-defined]
        if email is None:
            return f"{entry.account_id} (removed)"
        return format_html(
            '<a href="{}">{}</a>', reverse("admin:accounts_grantdirectory_change", args=[entry.account_id]), email
        )

    @admin.display(description="object")
    def about(self, entry: AuditEntry) -> str:
        """The object it was about, with a link to a message."""
        if not entry.object_type:
            return "the account" if entry.account_id is not None else "–"
        told = f"{entry.object_type} {entry.object_id}"
        if entry.object_type != "message" or entry.account_id is None or entry.object_id is None:
            return told
        return format_html(
            '<a href="{}">{}</a>', reverse("admin:sync_message", args=[entry.account_id, entry.object_id]), told
        )

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody: entries are written by what is done."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: AuditEntry | None = None) -> bool:
        """Nobody."""
        return False
