"""Applications: who reads mailboxes through us."""

from __future__ import annotations

from django import forms
from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest

from accounts.admin.base import HelpfulList
from accounts.models import Application


class ApplicationForm(forms.ModelForm):  # type: ignore[type-arg]
    """An application has a name, and nothing else to choose."""

    name = forms.CharField(max_length=200, help_text="For people; commands find an application by it.")

    class Meta:
        model = Application
        fields = ("name",)


@admin.register(Application)
class ApplicationAdmin(HelpfulList[Application]):
    """Applications are made and renamed here; one is never removed while accounts are its."""

    form = ApplicationForm
    list_display = ("name", "created_at", "accounts", "keys")
    search_fields = ("name",)
    readonly_fields = ("created_at",)
    empty_text = "No application yet. The first API key makes one: add it under API keys, or: manage.py create_api_key"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Application]:
        """Return the applications with the numbers of what they have."""
        counted = super().get_queryset(request)
        return counted.annotate(
            account_count=Count("grants", distinct=True), key_count=Count("keys", distinct=True)
        ).order_by("name")

    @admin.display(description="accounts")
    def accounts(self, application: Application) -> int:
        """How many accounts it has connected."""
        return application.account_count  # type: ignore[attr-defined,no-any-return]

    @admin.display(description="API keys")
    def keys(self, application: Application) -> int:
        """How many keys were ever made for it."""
        return application.key_count  # type: ignore[attr-defined,no-any-return]
