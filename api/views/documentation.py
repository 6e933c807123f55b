"""The reference of the API: the document, and a page that shows it without asking any other host."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe
from rest_framework.request import Request

from api.openapi.document import document_bytes
from api.openapi.operations import JSON, operation
from api.views.base import ApiView

#: Swagger UI writes styles into the page and shows pictures as data: URLs; nothing comes from elsewhere.
_POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"


class OpenApiDocument(ApiView):
    """/v3/openapi.json: for everybody."""

    authentication_classes = []
    permission_classes = []

    @operation("This document", id="getDocument", tag="Reference", public=True, raw=JSON, data={"type": "object"})
    def get(self, request: Request) -> HttpResponse:
        """Answer the document."""
        return HttpResponse(document_bytes(), content_type="application/json")


@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    """Answer the reference page."""
    response = render(request, "api/docs.html")
    response.headers["Content-Security-Policy"] = _POLICY
    return response
