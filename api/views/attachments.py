"""Attachments: what one is, and its content."""

from __future__ import annotations

from django.http import StreamingHttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from api.errors import BadRequest, NotFound
from api.ids import parse_id
from api.openapi import operations as openapi
from api.openapi.schemas import ID
from api.streams import part_response
from api.views.base import GrantView
from api.wire import attachment_wire
from sync.models import Part

PARAMETERS = [
    openapi.GRANT,
    openapi.path_id("attachment_id", "The attachment's id."),
    openapi.query("message_id", ID, "The message or draft that it is of.", required=True),
]


class AttachmentView(GrantView):
    """What both have in common: the part that the path names, of the message that the query names."""

    def find(self, attachment_id: str) -> Part:
        """Return the attachment. Raises BadRequest without `message_id`, NotFound where the two do not belong."""
        message_id = self.parameters.object_id("message_id")
        if message_id is None:
            raise BadRequest("message_id: needed: the message or draft that the attachment is of")
        mine = Part.objects.filter(account_id=self.account_id, message_id=message_id, pk=parse_id(attachment_id))
        part = mine.select_related("message").first()
        if part is None:
            raise NotFound("no such attachment of this message")
        return part


class AttachmentDetail(AttachmentView):
    """G/attachments/{id}."""

    @openapi.one(
        "Attachment",
        "Find an attachment",
        id="findAttachment",
        tag="Attachments",
        parameters=PARAMETERS,
    )
    def get(self, request: Request, grant: str, attachment_id: str) -> Response:
        """Answer what the attachment is."""
        return self.answer(attachment_wire(self.find(attachment_id)))


class AttachmentDownload(AttachmentView):
    """G/attachments/{id}/download."""

    @openapi.operation(
        "Download an attachment",
        id="downloadAttachment",
        tag="Attachments",
        parameters=PARAMETERS,
        raw="*/*",
        data=openapi.BINARY,
    )
    def get(self, request: Request, grant: str, attachment_id: str) -> StreamingHttpResponse:
        """Answer the content, decoded."""
        part = self.find(attachment_id)
        return part_response(part.message, part)
