"""What the processes say: one event a line, for people or as JSON, never a secret.

`log.info("folder_synced", messages=3)`; what is bound once a task (account_id, folder_id) stands on each of its lines.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

HIDDEN = "[hidden]"
#: Parts of the names of what must not be read in a log.
SECRET_WORDS = ("password", "passwd", "secret", "token", "authorization", "api_key", "cookie", "credential", "sealed")
#: The password in a URL such as redis://:password@host.
PASSWORD_IN_URL = re.compile(r"(?P<before>[a-z][a-z0-9+.-]*://[^\s/:@]*:)[^\s/@]+@", re.IGNORECASE)
#: These say something each second, or for each task.
CHATTY = ("celery.beat", "celery.worker.strategy", "celery.app.trace")


def hide_secrets(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Hide the values of keys that sound like secrets, and passwords in URLs."""
    return {key: _hidden(key, value) for key, value in event.items()}


def _hidden(key: str, value: Any) -> Any:
    if any(word in key.lower() for word in SECRET_WORDS):
        return HIDDEN
    if isinstance(value, Mapping):
        return {str(name): _hidden(str(name), inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_hidden(key, inner) for inner in value]
    return PASSWORD_IN_URL.sub(rf"\g<before>{HIDDEN}@", value) if isinstance(value, str) else value


#: What happens to every event, ours or a library's, before it is written.
SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def configure_logging(style: str, level: str) -> None:
    """Write events of `level` and above to standard error; `style` is console or json."""
    structlog.configure(
        processors=[*SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    output = logging.StreamHandler(sys.stderr)
    output.setFormatter(_formatter(style))
    root = logging.getLogger()
    root.handlers = [output]
    root.setLevel(level.upper())
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


def _formatter(style: str) -> logging.Formatter:
    shown: list[Processor] = [
        # a traceback without the values of variables: they may be secrets
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
    ]
    if style == "json":
        shown = [structlog.processors.JSONRenderer()]
    # the text of an exception may hold a URL: it becomes text before the secrets are hidden
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=SHARED,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            hide_secrets,
            *shown,
        ],
    )
