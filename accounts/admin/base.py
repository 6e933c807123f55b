"""What the pages of the admin have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

Row = TypeVar("Row", bound=Model)

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin
else:

    class ModelAdmin(admin.ModelAdmin):
        """Django's own class, which takes no parameter when it runs."""

        def __class_getitem__(cls, _row):
            return cls


def require(request: HttpRequest, permission: str, what: str) -> None:
    """Raise PermissionDenied, with a text that names the remedy, unless the staff member has a permission.

    `permission`: as Django spells it, `accounts.open_body`; `what`: how the form of a user calls it.
    """
    if not request.user.has_perm(permission):
        raise PermissionDenied(
            f"This needs the permission “{what}” ({permission}). A superuser can give it to you under Users."
        )


class HelpfulList(ModelAdmin[Row]):
    """A list that says what to do where it is empty; nothing in it is ever deleted."""

    change_list_template = "admin/accounts/helpful_list.html"
    show_full_result_count = False
    list_per_page = 50
    #: Where there are no rows at all.
    empty_text: ClassVar[str]
    #: Where none matches search and filters.
    no_match_text: ClassVar[str] = "Nothing matches. Try a shorter search, or clear the filters at the right."

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the list."""
        texts = {"empty_text": self.empty_text, "no_match_text": self.no_match_text}
        return super().changelist_view(request, {**texts, **(extra_context or {})})

    def has_delete_permission(self, request: HttpRequest, obj: Row | None = None) -> bool:
        """Nobody."""
        return False


def confirm(
    request: HttpRequest, site: admin.AdminSite, *, title: str, question: str, button: str, back: str, **context: Any
) -> HttpResponse:
    """Ask before something is done; the answer is a POST to the same address. `back`: where the way out leads."""
    asked = {"title": title, "question": question, "button": button, "back": back}
    return render(request, "admin/accounts/confirm.html", {**site.each_context(request), **asked, **context})
