"""The document itself, made once a process."""

from __future__ import annotations

import json
import threading
from functools import lru_cache
from typing import Any

from django.conf import settings
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.settings import patched_settings

from api.openapi.schemas import SCHEMAS

DESCRIPTION = """\
Mailboxes, mirrored exactly. Speaks the v3 wire format of the Nylas email API, so its official SDKs work with another
base URL, and adds extensions, which are marked as such.

Every answer is JSON with a `request_id`, which the header `x-request-id` repeats. Lists are newest first and end when
`next_cursor` is null. Unknown query parameters are ignored; malformed ones are refused with 400.
"""

_SETTINGS: dict[str, Any] = {
    "TITLE": "Mailmirror",
    "VERSION": "3",
    "DESCRIPTION": DESCRIPTION,
    "OAS_VERSION": "3.1.0",
    "APPEND_COMPONENTS": {"schemas": SCHEMAS},
    "SORT_OPERATIONS": False,
    # it would move our enumerations into components named by guesses
    "POSTPROCESSING_HOOKS": [],
}

_making = threading.Lock()


def document() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of what this installation serves."""
    made: dict[str, Any] = json.loads(document_bytes())
    return made


def document_bytes() -> bytes:
    """Return the document as JSON."""
    with _making:
        return _made()


@lru_cache(maxsize=1)
def _made() -> bytes:
    patches = {**_SETTINGS, "SERVERS": [{"url": settings.PUBLIC_URL}]}
    with patched_settings(patches):
        generator: Any = SchemaGenerator
        schema = generator(urlconf="api.urls").get_schema(request=None, public=True)
    return json.dumps(schema, ensure_ascii=False).encode()
