"""Messages and drafts: lists, single ones, raw MIME. A draft is a message served under a path of its own."""

from __future__ import annotations

from typing import ClassVar

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from api.errors import NotFound
from api.filters import MESSAGE_FILTERS, MailFilters, find_messages
from api.ids import parse_id
from api.objects import Shape, show_messages
from api.openapi import operations as openapi
from api.parameters import Parameters, select_fields
from api.streams import from_shard, one_raw_mime_json, raw_mime_json, raw_response
from api.views.base import GrantView, ListPage
from sync.models import Message

#: What `fields` may ask for; tracking is not served, so its options add nothing.
FIELDS = ("standard", "include_headers", "include_basic_headers", "include_tracking_options", "raw_mime")

SHAPE = [openapi.SELECT, openapi.query("fields", {"enum": list(FIELDS), "default": "standard"}, "What to show.")]
FILTERS = [*openapi.mail_filters("received_after", "received_before"), *openapi.SIZES]
LIST_PARAMETERS = [openapi.GRANT, *FILTERS, *SHAPE, openapi.limit(50), openapi.PAGE_TOKEN]
MESSAGE_PARAMETERS = [openapi.GRANT, openapi.path_id("message_id", "Its id.")]


def shape_of(parameters: Parameters, *, body_text: bool = False) -> Shape | None:
    """Return what `fields` and `select` ask for; None: raw MIME alone."""
    fields = parameters.choice("fields", "standard", FIELDS)
    if fields == "raw_mime":
        return None
    selected = select_fields(parameters)
    return Shape(
        selected=selected,
        headers=fields in ("include_headers", "include_basic_headers"),
        basic_headers=fields == "include_basic_headers",
        body_text=body_text and (selected is None or "body_text" in selected),
    )


class MailView(GrantView):
    """What both types have in common: how they are found and shown."""

    drafts: ClassVar[bool] = False

    def page(self) -> HttpResponseBase:
        """Answer a page, newest first."""
        name = "drafts" if self.drafts else "messages"
        shape = shape_of(self.parameters)
        page = ListPage(self.account_id, name, self.parameters, filters=MESSAGE_FILTERS, limit=self.parameters.limit())
        filters = MailFilters.of(
            page.parameters, served=MESSAGE_FILTERS, after="received_after", before="received_before"
        )
        found = find_messages(self.account_id, filters, drafts=self.drafts, after=page.after, limit=page.limit + 1)
        cursor = page.next_cursor(found, "date")
        if shape is None:
            pieces = raw_mime_json(self.request_id, found[: page.limit], next_cursor=cursor)
            return StreamingHttpResponse(from_shard(self.account_id, pieces), content_type="application/json")
        return self.answer(show_messages(found[: page.limit], shape), next_cursor=cursor)

    def one(self, message_id: str) -> HttpResponseBase:
        """Answer one, with the text of its body."""
        shape = shape_of(self.parameters, body_text=True)
        message = self.find(message_id)
        if shape is None:
            pieces = one_raw_mime_json(self.request_id, message)
            return StreamingHttpResponse(from_shard(self.account_id, pieces), content_type="application/json")
        return self.answer(show_messages([message], shape)[0])

    def raw(self, message_id: str) -> HttpResponseBase:
        """Answer the raw MIME, byte for byte as the server has it."""
        headers = self.request.headers
        return raw_response(self.find(message_id), headers.get("Range"), headers.get("If-Range"))

    def find(self, message_id: str) -> Message:
        """Return the message or draft of the path. Raises NotFound."""
        mine = Message.objects.filter(account_id=self.account_id, is_draft=self.drafts)
        message = mine.filter(pk=parse_id(message_id)).first()
        if message is None:
            raise NotFound(f"no such {'draft' if self.drafts else 'message'}")
        return message


class MessageList(MailView):
    """G/messages."""

    @openapi.many(
        "Message",
        "List messages",
        id="listMessages",
        tag="Messages",
        parameters=LIST_PARAMETERS,
    )
    def get(self, request: Request, grant: str) -> HttpResponseBase:
        """Answer a page of messages."""
        return self.page()


class MessageDetail(MailView):
    """G/messages/{id}."""

    @openapi.one(
        "Message",
        "Find a message",
        id="findMessage",
        tag="Messages",
        parameters=[*MESSAGE_PARAMETERS, *SHAPE],
    )
    def get(self, request: Request, grant: str, message_id: str) -> HttpResponseBase:
        """Answer one message."""
        return self.one(message_id)


class MessageRaw(MailView):
    """G/messages/{id}/raw."""

    @openapi.operation(
        "Download the raw MIME of a message",
        id="downloadMessage",
        tag="Messages",
        description="Extension. Byte-identical to the server's; honours Range.",
        parameters=MESSAGE_PARAMETERS,
        raw="message/rfc822",
        data=openapi.BINARY,
        partial=[206],
        errors=[416],
    )
    def get(self, request: Request, grant: str, message_id: str) -> HttpResponseBase:
        """Answer the raw MIME."""
        return self.raw(message_id)


class DraftList(MailView):
    """G/drafts."""

    drafts = True

    @openapi.many(
        "Draft",
        "List drafts",
        id="listDrafts",
        tag="Drafts",
        parameters=LIST_PARAMETERS,
    )
    def get(self, request: Request, grant: str) -> HttpResponseBase:
        """Answer a page of drafts."""
        return self.page()


class DraftDetail(MailView):
    """G/drafts/{id}."""

    drafts = True

    @openapi.one(
        "Draft",
        "Find a draft",
        id="findDraft",
        tag="Drafts",
        parameters=[*MESSAGE_PARAMETERS, *SHAPE],
    )
    def get(self, request: Request, grant: str, message_id: str) -> HttpResponseBase:
        """Answer one draft."""
        return self.one(message_id)


class DraftRaw(MailView):
    """G/drafts/{id}/raw."""

    drafts = True

    @openapi.operation(
        "Download the raw MIME of a draft",
        id="downloadDraft",
        tag="Drafts",
        description="Extension. Byte-identical to the server's; honours Range.",
        parameters=MESSAGE_PARAMETERS,
        raw="message/rfc822",
        data=openapi.BINARY,
        partial=[206],
        errors=[416],
    )
    def get(self, request: Request, grant: str, message_id: str) -> HttpResponseBase:
        """Answer the raw MIME."""
        return self.raw(message_id)
