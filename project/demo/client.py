"""What the demo asks of the API: over HTTP, with a key, like any user."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

#: Seconds for one answer: connecting an account logs in to its servers, which may take up to 20.
PATIENCE = 40.0
#: Objects a page.
PAGE = 200


class Refused(Exception):
    """The API answered with an error."""

    def __init__(self, status: int, answer: dict[str, Any]) -> None:
        error = answer.get("error") or {}
        provider = error.get("provider_error") or {}
        super().__init__(f"{status}: {provider.get('message') or error.get('message') or answer}")
        self.status = status


@dataclass(frozen=True, slots=True)
class Api:
    """One installation's API, as one application sees it."""

    host: str
    port: int
    key: str

    def ask(self, method: str, path: str, body: Any = None, **parameters: object) -> dict[str, Any]:
        """Return the answer's JSON. Raises Refused, OSError."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE)
        # by a name that is answered to, wherever we listen
        headers = {"Authorization": f"Bearer {self.key}", "Host": "localhost", "Content-Type": "application/json"}
        query = f"?{urlencode(parameters)}" if parameters else ""
        try:
            connection.request(method, path + query, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            try:
                content: dict[str, Any] = json.loads(answer.read())
            except ValueError:
                content = {}
            if answer.status >= http.HTTPStatus.BAD_REQUEST:
                raise Refused(answer.status, content)
            return content
        except http.client.HTTPException as error:
            raise OSError(f"no answer: {error!r}") from error
        finally:
            connection.close()

    def knows_key(self) -> bool:
        """Whether the key is valid."""
        try:
            self.ask("GET", "/v3/grants", limit=1)
        except Refused as refusal:
            if refusal.status == http.HTTPStatus.UNAUTHORIZED:
                return False
            raise
        return True

    def connect(self, settings: dict[str, Any]) -> str:
        """Connect an IMAP account; return its grant id. Connected already: the same grant, with these settings."""
        answer = self.ask("POST", "/v3/connect/custom", {"provider": "imap", "settings": settings})
        return str(answer["data"]["id"])

    def request_pass(self, grant: str) -> int:
        """Ask for a look at the whole mailbox; return the number of the request."""
        return int(self.ask("POST", f"{path_of(grant)}/sync")["data"]["requested"])

    def sync_state(self, grant: str) -> dict[str, Any]:
        """Return how far the mirror is."""
        data: dict[str, Any] = self.ask("GET", f"{path_of(grant)}/sync")["data"]
        return data

    def all(self, grant: str, what: str, **parameters: object) -> list[dict[str, Any]]:
        """Return every object of a list, page by page."""
        found: list[dict[str, Any]] = []
        while True:
            answer = self.ask("GET", f"{path_of(grant)}/{what}", limit=PAGE, **parameters)
            found += answer["data"]
            if not answer.get("next_cursor"):
                return found
            parameters["page_token"] = answer["next_cursor"]

    def latest(self, grant: str) -> str:
        """Return the place in the change log now."""
        return str(self.ask("GET", f"{path_of(grant)}/changes/latest")["data"]["cursor"])

    def arrivals(self, grant: str, since: str, wait: int) -> tuple[list[dict[str, Any]], str]:
        """Return messages that arrived since a place in the log, and the place now; waits up to `wait` s for one."""
        answer = self.ask("GET", f"{path_of(grant)}/changes", since=since, types="message", include="object", wait=wait)
        created = [change["object"] for change in answer["data"] if change["op"] == "created" and change.get("object")]
        return created, str(answer["next_cursor"])


def path_of(grant: str) -> str:
    """Return where a grant's objects are."""
    return f"/v3/grants/{quote(grant, safe='')}"
