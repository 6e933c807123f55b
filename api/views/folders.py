"""Folders: the list of all levels, and one."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from api.errors import NotFound
from api.ids import parse_id
from api.objects import Shape
from api.openapi import operations as openapi
from api.openapi.schemas import BOOLEAN, ID
from api.parameters import select_fields
from api.views.base import GrantView, ListPage
from api.wire import folder_wire
from sync.models import Folder

FOLDER_FILTERS = frozenset({"parent_id", "single_level"})
FOLDER_ID = openapi.path_id("folder_id", "The folder's id.")


class FolderList(GrantView):
    """G/folders."""

    @openapi.many(
        "Folder",
        "List folders",
        id="listFolders",
        tag="Folders",
        parameters=[
            openapi.GRANT,
            openapi.query("parent_id", ID, "Only what lies directly in this folder."),
            openapi.query("single_level", BOOLEAN, "Only the top level."),
            openapi.SELECT,
            openapi.limit(50),
            openapi.PAGE_TOKEN,
        ],
    )
    def get(self, request: Request, grant: str) -> Response:
        """Answer a page of folders."""
        page = ListPage(
            self.account_id, "folders", self.parameters, filters=FOLDER_FILTERS, limit=self.parameters.limit()
        )
        rows = Folder.objects.filter(account_id=self.account_id)
        parent_id = page.parameters.object_id("parent_id")
        if parent_id is not None:
            rows = rows.filter(parent_id=parent_id)
        elif page.parameters.boolean("single_level"):
            rows = rows.filter(parent_id=None)
        if page.after is not None:
            rows = rows.filter(pk__gt=page.after.id)
        found = list(rows.order_by("pk")[: page.limit + 1])
        shape = Shape(selected=select_fields(self.parameters))
        shown = [shape.cut(folder_wire(one)) for one in found[: page.limit]]
        return self.answer(shown, next_cursor=page.next_cursor(found, None))


class FolderDetail(GrantView):
    """G/folders/{id}."""

    @openapi.one(
        "Folder",
        "Find a folder",
        id="findFolder",
        tag="Folders",
        parameters=[openapi.GRANT, FOLDER_ID, openapi.SELECT],
    )
    def get(self, request: Request, grant: str, folder_id: str) -> Response:
        """Answer one folder."""
        folder = Folder.objects.filter(account_id=self.account_id, pk=parse_id(folder_id)).first()
        if folder is None:
            raise NotFound("no such folder")
        return self.answer(Shape(selected=select_fields(self.parameters)).cut(folder_wire(folder)))
