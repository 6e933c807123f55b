"""Tasks of the API."""

from __future__ import annotations

from api import idempotency
from celery_config import app


@app.task(ignore_result=True)
def forget_answers(**_future: object) -> None:
    """Once a minute: forget what requests with an Idempotency-Key were answered more than an hour ago."""
    idempotency.prune()
