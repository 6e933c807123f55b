"""Threads: the list, newest first, and one."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from api.errors import NotFound
from api.filters import THREAD_FILTERS, MailFilters, find_threads
from api.ids import parse_id
from api.objects import Shape, show_threads
from api.openapi import operations as openapi
from api.parameters import select_fields
from api.views.base import GrantView, ListPage
from sync.models import Thread

#: Threads on a page, unless the caller says otherwise: each carries a whole message.
DEFAULT_LIMIT = 20


class ThreadList(GrantView):
    """G/threads."""

    @openapi.many(
        "Thread",
        "List threads",
        id="listThreads",
        tag="Threads",
        parameters=[
            openapi.GRANT,
            *openapi.mail_filters("latest_message_after", "latest_message_before"),
            openapi.SELECT,
            openapi.limit(DEFAULT_LIMIT),
            openapi.PAGE_TOKEN,
        ],
    )
    def get(self, request: Request, grant: str) -> Response:
        """Answer a page of threads, newest first."""
        limit = self.parameters.limit(DEFAULT_LIMIT)
        page = ListPage(self.account_id, "threads", self.parameters, filters=THREAD_FILTERS, limit=limit)
        filters = MailFilters.of(
            page.parameters, served=THREAD_FILTERS, after="latest_message_after", before="latest_message_before"
        )
        found = find_threads(self.account_id, filters, after=page.after, limit=page.limit + 1)
        shape = Shape(selected=select_fields(self.parameters))
        cursor = page.next_cursor(found, "latest_date")
        return self.answer(show_threads(found[: page.limit], shape), next_cursor=cursor)


class ThreadDetail(GrantView):
    """G/threads/{id}."""

    @openapi.one(
        "Thread",
        "Find a thread",
        id="findThread",
        tag="Threads",
        parameters=[openapi.GRANT, openapi.path_id("thread_id", "The thread's id."), openapi.SELECT],
    )
    def get(self, request: Request, grant: str, thread_id: str) -> Response:
        """Answer one thread."""
        thread = Thread.objects.filter(account_id=self.account_id, pk=parse_id(thread_id)).first()
        if thread is None:
            raise NotFound("no such thread")
        return self.answer(show_threads([thread], Shape(selected=select_fields(self.parameters)))[0])
