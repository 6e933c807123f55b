"""`GET messages` with bodies, in an account of 100,000 messages."""

from __future__ import annotations

import http.client
import time
from collections.abc import Mapping
from urllib.parse import urlencode

from benchmarks.figures import Figure, Section, percentile
from benchmarks.processes import cpu_by_group, spent
from benchmarks.stack import RunningStack

MESSAGES = 100_000
REQUESTS = 200
LIMIT = 50

# Every message again, `%(times)s` times, each copy some days older and with a body of its own: filling by IMAP
# would take minutes, and what is measured here does not care how the rows came.
_GROW = """
ALTER TABLE sync_message DISABLE TRIGGER USER;
CREATE TEMPORARY TABLE again AS
    SELECT id AS old, nextval(pg_get_serial_sequence('sync_message', 'id')) AS id, round FROM sync_message,
        generate_series(1, %(times)s) AS round;
INSERT INTO sync_message OVERRIDING SYSTEM VALUE
    SELECT (jsonb_populate_record(m, jsonb_build_object(
        'id', again.id, 'sha256', '\\x' || encode(sha256(m.sha256 || again.round::text::bytea), 'hex'),
        'date', m.date - again.round * interval '20 days'))).*
    FROM again JOIN sync_message m ON m.id = again.old;
INSERT INTO sync_body (message_id, account_id, data, text_length, html_length)
    SELECT again.id, account_id, data, text_length, html_length FROM again JOIN sync_body ON message_id = again.old;
INSERT INTO sync_foldermessage (account_id, folder_id, message_id, remote_id, flags, internal_date, date)
    SELECT account_id, folder_id, again.id, (again.round * 1000000 + remote_id::bigint)::text, flags, internal_date,
        date - again.round * interval '20 days'
    FROM again JOIN sync_foldermessage c ON c.message_id = again.old;
ALTER TABLE sync_message ENABLE TRIGGER USER;
"""


def report(stack: RunningStack, grant: str) -> Section:
    """Grow the account, then list: its newest messages, and those of its inbox."""
    _grow(stack)
    folders = stack.api.ask("GET", f"/v3/grants/{grant}/folders", limit=200)["data"]
    inbox = next(folder["id"] for folder in folders if folder["name"].upper() == "INBOX")
    figures: list[Figure] = []
    for name, parameters in (("all messages", {}), ("one folder", {"in": inbox})):
        before = cpu_by_group(stack.pid)
        times = _ask(stack, f"/v3/grants/{grant}/messages", {"limit": LIMIT, **parameters})
        cpu = spent(before, cpu_by_group(stack.pid))
        serving = (cpu.get("web", 0.0) + cpu.get("PostgreSQL", 0.0)) / REQUESTS
        figures += [
            Figure(f"{name}: p50", percentile(times, 0.5) * 1000, "ms"),
            Figure(f"{name}: p95", percentile(times, 0.95) * 1000, "ms"),
            Figure(f"{name}: CPU of web and PostgreSQL a request", serving * 1000, "ms"),
        ]
    about = (
        f"`GET messages`, {LIMIT} a page with bodies, {REQUESTS} requests one after the other on one connection, in an"
        f" account of {MESSAGES:,} messages. There is no floor in the same run: the best peer's page of 100, without"
        " bodies, takes 109 ms (p50)."
    )
    return Section("Listing messages", about, figures)


def _grow(stack: RunningStack) -> None:
    with stack.database() as database:
        database.execute("SELECT count(*) FROM sync_message")
        (count,) = database.fetchone() or (0,)
        database.execute(_GROW, {"times": max(MESSAGES // count - 1, 0)})
        # at once, not by the server itself in the middle of what is measured
        database.execute("VACUUM ANALYZE")


def _ask(stack: RunningStack, path: str, parameters: Mapping[str, object]) -> list[float]:
    connection = http.client.HTTPConnection(stack.api.host, stack.api.port, timeout=60)
    headers = {"Authorization": f"Bearer {stack.api.key}", "Host": "localhost"}
    times = []
    for _ in range(REQUESTS):
        began = time.perf_counter()
        connection.request("GET", f"{path}?{urlencode(parameters)}", headers=headers)
        answer = connection.getresponse()
        content = answer.read()
        times.append(time.perf_counter() - began)
        if answer.status != http.HTTPStatus.OK:
            raise RuntimeError(f"{answer.status}: {content[:500]!r}")
    connection.close()
    return times
