"""The shapes of the wire, as JSON Schema: what `components.schemas` of the document holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from accounts.changelog.words import OBJECT_TYPES, Kind
from accounts.models import Status
from api.connecting import PROVIDERS

Schema = dict[str, Any]

ID: Schema = {"type": "string", "pattern": "^[A-Za-z0-9_-]+$"}
TEXT: Schema = {"type": "string"}
TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
BOOLEAN: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
MOMENT: Schema = {"type": "integer", "description": "Unix seconds."}
MOMENT_OR_NULL: Schema = {"type": ["integer", "null"], "description": "Unix seconds."}
MOMENT_WITH_FRACTION: Schema = {"type": ["number", "null"], "description": "Unix seconds, fractions allowed."}
STATE: Schema = {"enum": ["queued", "syncing", "idle", "paused", "invalid_credentials", "error"]}


def reference(name: str) -> Schema:
    """Return a reference to a component."""
    return {"$ref": f"#/components/schemas/{name}"}


def array(items: Schema, description: str = "") -> Schema:
    """Return a list of `items`."""
    return {"type": "array", "items": items} | ({"description": description} if description else {})


def closed(required: Sequence[str], properties: dict[str, Schema], description: str) -> Schema:
    """Return an object with these properties and no others."""
    made = {
        "type": "object",
        "required": list(required),
        "properties": properties,
        "additionalProperties": False,
    }
    return told(made, description) if description else made


def told(schema: Schema, description: str) -> Schema:
    """Return a schema with a description."""
    return {**schema, "description": description}


PARTICIPANTS = array(reference("Participant"))

MESSAGE_PROPERTIES: dict[str, Schema] = {
    "id": ID,
    "grant_id": ID,
    "object": {"const": "message"},
    "thread_id": ID,
    "subject": TEXT,
    "from": PARTICIPANTS,
    "to": PARTICIPANTS,
    "cc": PARTICIPANTS,
    "bcc": PARTICIPANTS,
    "reply_to": PARTICIPANTS,
    "date": told(MOMENT, "When the server received its oldest copy (INTERNALDATE), in unix seconds."),
    "header_date": told(MOMENT_OR_NULL, "Extension. The Date header in unix seconds; null when unreadable."),
    "created_at": told(MOMENT, "When it was mirrored, in unix seconds."),
    "unread": told(BOOLEAN, "No copy has \\Seen."),
    "starred": told(BOOLEAN, "Any copy has \\Flagged."),
    "flags": array(TEXT, "Extension. The union of the flags and keywords of all copies."),
    "folders": array(ID, "Where its copies are."),
    "copies": told(COUNT, "Extension. How many copies there are in all folders together."),
    "snippet": told(TEXT, "100 characters, without tags."),
    "body": told(TEXT, "The mail's own HTML unaltered, else its text; up to 1 MB."),
    "body_pending": told(BOOLEAN, "Extension. The body has not arrived yet (`headers_first`)."),
    "attachments": array(reference("Attachment")),
    "in_reply_to": told(TEXT_OR_NULL, "The first id of In-Reply-To, without angle brackets."),
    "size": told(COUNT, "Extension. Bytes of the raw message."),
    "headers": array(reference("MessageHeader"), "With `fields=include_headers` or `include_basic_headers`."),
    "raw_mime": told(TEXT, "With `fields=raw_mime`, which shows no other property but the ids: base64url."),
    "body_text": told(TEXT, "Extension, of a single message: its own text, else text made from its HTML."),
}

_FOLDER: dict[str, Schema] = {
    "id": ID,
    "grant_id": ID,
    "object": {"const": "folder"},
    "name": told(TEXT, "The last level, decoded."),
    "path": told(TEXT, "Extension. All levels, joined by the delimiter."),
    "delimiter": told(TEXT_OR_NULL, "Extension. The server's own; null when its names are flat."),
    "parent_id": {"oneOf": [ID, {"type": "null"}]},
    "attributes": array(TEXT, "The server's LIST attributes and at most one role, for example \\Sent."),
    "system_folder": BOOLEAN,
    "selectable": told(BOOLEAN, "Extension. False: it only holds other folders, or the server refuses to open it."),
    "child_count": COUNT,
    "total_count": told(COUNT, "Copies, as STATUS counts."),
    "unread_count": told(COUNT, "Copies without \\Seen."),
}

_THREAD: dict[str, Schema] = {
    "id": ID,
    "grant_id": ID,
    "object": {"const": "thread"},
    "subject": TEXT,
    "snippet": TEXT,
    "participants": PARTICIPANTS,
    "message_ids": array(ID),
    "draft_ids": array(ID),
    "folders": array(ID, "Where copies of its messages and drafts are."),
    "unread": BOOLEAN,
    "starred": BOOLEAN,
    "has_attachments": BOOLEAN,
    "has_drafts": BOOLEAN,
    "earliest_message_date": MOMENT_OR_NULL,
    "latest_message_received_date": MOMENT_OR_NULL,
    "latest_message_sent_date": MOMENT_OR_NULL,
    "latest_draft_or_message": {"oneOf": [reference("Message"), reference("Draft"), {"type": "null"}]},
}

_ATTACHMENT: dict[str, Schema] = {
    "id": ID,
    "grant_id": ID,
    "filename": TEXT,
    "content_type": TEXT,
    "size": told(COUNT, "Bytes once decoded."),
    "content_id": told(TEXT_OR_NULL, "Without angle brackets."),
    "content_disposition": told(TEXT_OR_NULL, "inline or attachment; null where the mail does not say."),
    "is_inline": BOOLEAN,
}

_GRANT: dict[str, Schema] = {
    "id": ID,
    "object": {"const": "grant"},
    "provider": TEXT,
    "account_id": ID,
    "grant_status": {"enum": list(Status.values)},
    "email": TEXT,
    "name": TEXT,
    "scope": array(TEXT),
    "settings": {"type": "object", "description": "Hosts, ports, user names, options; never a secret."},
    "state": told(TEXT, "What the caller gave when it connected."),
    "user_agent": TEXT,
    "ip": TEXT,
    "provider_user_id": TEXT,
    "credential_id": {"type": "null", "description": "No credentials are shared between grants."},
    "created_at": MOMENT,
    "updated_at": MOMENT,
    "sync_state": told(STATE, "Extension: how far the mirror is, in a word."),
}

_CHANGE: dict[str, Schema] = {
    "cursor": told(TEXT, "The place behind this change."),
    "type": {"enum": list(OBJECT_TYPES)},
    "op": {"enum": [str(kind.label) for kind in Kind]},
    "id": ID,
    "grant_id": ID,
    "at": MOMENT,
    "object": {
        "description": "With `include=object`: the object as it is now, null when it is gone. Of a notice, always.",
        "oneOf": [reference(name) for name in ("Message", "Draft", "Thread", "Folder", "Grant", "Notice")]
        + [{"type": "null"}],
    },
}

_SYNC: dict[str, Schema] = {
    "state": STATE,
    "requested": told(COUNT, "The number of the newest request for a pass."),
    "completed": told(COUNT, "Every request up to this one is answered: compared and committed."),
    "messages_known": COUNT,
    "messages_mirrored": COUNT,
    "progress": {"type": "number", "minimum": 0, "maximum": 1},
    "eta_seconds": {"type": ["number", "null"]},
    "last_synced_at": told(MOMENT_WITH_FRACTION, "Start of the last complete pass, in unix seconds."),
    "last_error": TEXT_OR_NULL,
    "folders": array(reference("FolderSync")),
}

_FOLDER_SYNC: dict[str, Schema] = {
    "id": ID,
    "name": TEXT,
    "path": TEXT,
    "state": STATE,
    "messages_known": COUNT,
    "messages_mirrored": COUNT,
    "last_synced_at": MOMENT_WITH_FRACTION,
    "last_error": TEXT_OR_NULL,
    "uidvalidity": {"type": ["integer", "null"]},
    "push": BOOLEAN,
}

_SECURITY: Schema = {"enum": ["tls", "starttls", "none"]}
_PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
_SETTINGS: dict[str, Schema] = {
    "email": told(TEXT, "Extension. Default: `imap_username`, where it is an address."),
    "imap_username": told(TEXT, "Default: the email."),
    "imap_password": TEXT,
    "imap_host": told(TEXT, "Found by the email's domain unless given."),
    "imap_port": _PORT,
    "imap_security": told(_SECURITY, "Extension. By port: 993 tls, 143 starttls, any other tls."),
    "smtp_host": TEXT,
    "smtp_port": _PORT,
    "smtp_security": told(_SECURITY, "Extension. By port: 465 tls, 587 starttls, any other tls."),
    "smtp_username": told(TEXT, "Default: `imap_username`."),
    "smtp_password": told(TEXT, "Default: `imap_password`."),
    "verify_certificates": {"type": "boolean", "default": True, "description": "Extension."},
    "sync_days": {"type": "integer", "minimum": 1, "description": "Extension. Mirror this many days of history."},
    "exclude_folders": array(TEXT, "Extension. Paths of folders that are not mirrored."),
    "headers_first": {"type": "boolean", "default": False, "description": "Extension."},
}

_ERROR: Schema = {
    "type": "object",
    "description": "Every error, with the members of RFC 9457 beside the envelope.",
    "required": ["request_id", "error", "type", "title", "status", "detail"],
    "properties": {
        "request_id": TEXT,
        "error": closed(
            ["type", "message"],
            {
                "type": TEXT,
                "message": TEXT,
                "provider_error": closed(
                    ["stage", "message"],
                    {
                        "stage": {"enum": ["resolve", "connect", "tls", "login", "list", "smtp", None]},
                        "message": TEXT,
                    },
                    "Where connecting failed.",
                ),
            },
            "What went wrong; the message names the parameter.",
        ),
        "type": {"type": "string", "format": "uri"},
        "title": TEXT,
        "status": {"type": "integer"},
        "detail": TEXT,
    },
    "additionalProperties": False,
}

SCHEMAS: dict[str, Schema] = {
    "Message": closed(["id", "grant_id", "object"], MESSAGE_PROPERTIES, "One distinct mail of a mailbox."),
    "Draft": closed(
        ["id", "grant_id", "object"],
        {**MESSAGE_PROPERTIES, "object": {"const": "draft"}},
        "A mail of which a copy has \\Draft, or is in the Drafts folder.",
    ),
    "Thread": closed(["id", "grant_id", "object"], _THREAD, "A conversation."),
    "Folder": closed(["id", "grant_id", "object"], _FOLDER, "A folder; its counts are of copies."),
    "Attachment": closed(list(_ATTACHMENT), _ATTACHMENT, "An attachment or an inline image."),
    "Grant": closed(list(_GRANT), _GRANT, "A connected mailbox."),
    "Change": closed(["cursor", "type", "op", "id", "grant_id", "at"], _CHANGE, "What happened to one object."),
    "Notice": {
        "type": "object",
        "description": "What happened without being an object: its name, what it is about, and its facts.",
        "required": ["name", "about_type", "about_id"],
        "properties": {"name": TEXT, "about_type": {"enum": list(OBJECT_TYPES)}, "about_id": ID},
        # else it would be any object at all
        "not": {"required": ["object"]},
    },
    "Sync": closed(list(_SYNC), _SYNC, "How far a mirror is."),
    "FolderSync": closed(list(_FOLDER_SYNC), _FOLDER_SYNC, "How far the mirror of a folder is."),
    "Participant": closed(["name", "email"], {"name": TEXT, "email": TEXT}, "A mailbox as the header writes it."),
    "MessageHeader": closed(["name", "value"], {"name": TEXT, "value": TEXT}, "A header field, decoded."),
    "ConnectCustom": {
        "type": "object",
        "required": ["provider", "settings"],
        "properties": {
            "provider": {"enum": list(PROVIDERS)},
            "settings": {"type": "object", "required": ["imap_password"], "properties": _SETTINGS},
            "state": told(TEXT, "Given back with the grant."),
        },
    },
    "UpdateGrant": {
        "type": "object",
        "properties": {
            "settings": {
                "type": "object",
                "properties": {name: {"anyOf": [one, {"type": "null"}]} for name, one in _SETTINGS.items()},
                "description": "What is not named stays; null takes a default back.",
            },
            "scope": array(TEXT, "Read, and not used: a login with a password has no scopes."),
        },
    },
    "Application": {
        "type": "object",
        "required": ["application_id", "organization_id", "region", "environment", "branding"],
        "properties": {
            "application_id": ID,
            "organization_id": TEXT,
            "region": TEXT,
            "environment": TEXT,
            "branding": closed(["name"], {"name": TEXT}, "How it is called."),
            "callback_uris": array({"type": "object"}),
            "created_at": MOMENT,
        },
        "additionalProperties": False,
    },
    "Error": _ERROR,
}
