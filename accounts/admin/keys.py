"""API keys: made here and shown once, seen without the key, revoked."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from accounts.admin.base import HelpfulList, confirm, require
from accounts.audit import record_staff_action
from accounts.keys import SCOPES, create_api_key, revoke_api_key
from accounts.models import ApiKey, StaffAction

_MEANING = {"read": "read mail and accounts", "write": "change mail", "admin": "connect and remove accounts"}


class NewKeyForm(forms.ModelForm):  # type: ignore[type-arg]
    """What a new key is for."""

    name = forms.CharField(max_length=200, help_text="Who will use it, for the list of keys.")
    scopes = forms.MultipleChoiceField(
        choices=[(scope, f"{scope}: {_MEANING[scope]}") for scope in SCOPES],
        widget=forms.CheckboxSelectMultiple,
        initial=["read"],
    )

    class Meta:
        model = ApiKey
        fields = ("application", "name", "scopes")


class StateFilter(admin.SimpleListFilter):
    """Whether a key still opens something."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the choices."""
        return [("valid", "valid"), ("ended", "revoked or expired")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
        """Narrow the list."""
        ended = Q(revoked_at__isnull=False) | Q(expires_at__lte=timezone.now())
        if self.value() == "valid":
            return queryset.exclude(ended)
        return queryset.filter(ended) if self.value() == "ended" else queryset


@admin.register(ApiKey)
class ApiKeyAdmin(HelpfulList[ApiKey]):
    """Keys are added and revoked, never changed."""

    form = NewKeyForm
    list_display = ("name", "application", "start", "scope_words", "created_at", "last_used_at", "state")
    list_filter = (StateFilter, "application")
    list_select_related = ("application",)
    search_fields = ("name", "prefix")
    search_help_text = "A name, or the first characters of a key."
    ordering = ("-created_at", "-pk")
    change_form_template = "admin/accounts/apikey/change_form.html"
    empty_text = "No API key yet. Add one with the button above, or on the server: manage.py create_api_key NAME"

    def get_urls(self) -> list[URLPattern]:
        """Add the way to revoke a key."""
        revoke = self.admin_site.admin_view(self.revoke)
        return [path("<int:key_id>/revoke/", revoke, name="accounts_apikey_revoke"), *super().get_urls()]

    def has_change_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        """Nobody: the permission to change a key lets revoke it."""
        return False

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        """Return what a form shows: nothing that a key could be guessed from."""
        if obj is None:
            return "application", "name", "scopes"
        return "application", "name", "start", "scope_words", "created_at", "last_used_at", "expires_at", "state"

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        """Return everything, once it is made."""
        return () if obj is None else self.get_fields(request, obj)

    @admin.display(description="key begins", ordering="prefix")
    def start(self, key: ApiKey) -> str:
        """How the key begins."""
        return f"{key.prefix}…"

    @admin.display(description="scopes")
    def scope_words(self, key: ApiKey) -> str:
        """What it is allowed."""
        return ", ".join(key.scopes)

    @admin.display(description="state")
    def state(self, key: ApiKey) -> str:
        """Whether it is valid."""
        if key.revoked_at is not None:
            return f"revoked {key.revoked_at:%Y-%m-%d %H:%M} UTC"
        ended = key.expires_at is not None and key.expires_at <= timezone.now()
        return "expired" if ended else "valid"

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        """Make the key; it travels to `response_add` in memory alone."""
        plain = create_api_key(application=obj.application, name=obj.name, scopes=obj.scopes)
        obj.pk = ApiKey.objects.filter(application=obj.application, prefix=plain[:12]).latest("pk").pk
        obj.refresh_from_db()
        record_staff_action(request, StaffAction.CREATED_KEY, object_type="API key", object_id=obj.pk)
        obj.plain = plain  # type: ignore[attr-defined]

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        """Show the key, in this one answer: no redirect, no session and no cache ever holds it."""
        context = {
            **self.admin_site.each_context(request),
            "title": "API key made",
            "opts": self.opts,
            "key": obj,
            "plain": obj.plain,  # type: ignore[attr-defined]
        }
        response = render(request, "admin/accounts/apikey/made.html", context)
        response.headers["Cache-Control"] = "no-store"
        return response

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show a key, with the way to revoke it for those who may."""
        may = request.user.has_perm("accounts.change_apikey")
        return super().change_view(request, object_id, form_url, {"may_revoke": may, **(extra_context or {})})

    def revoke(self, request: HttpRequest, key_id: int) -> HttpResponseBase:
        """Ask, then revoke."""
        require(request, "accounts.change_apikey", "Can change API key")
        listed = HttpResponseRedirect(reverse("admin:accounts_apikey_changelist"))
        key = ApiKey.objects.select_related("application").filter(pk=key_id).first()
        if key is None:
            messages.error(request, f"There is no API key {key_id}: choose one from this list.")
            return listed
        if request.method != "POST":
            question = f"Whoever uses the key {key} of {key.application} is refused from now on. This cannot be undone."
            back = reverse("admin:accounts_apikey_change", args=[key_id])
            return confirm(
                request, self.admin_site, title="Revoke API key", question=question, button="Revoke", back=back
            )
        record_staff_action(request, StaffAction.REVOKED_KEY, object_type="API key", object_id=key.pk)
        done = revoke_api_key(key)
        messages.success(request, f"Revoked {key}." if done else f"Nothing to do: {key} was revoked before.")
        return listed
