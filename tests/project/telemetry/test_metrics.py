"""Figures of all processes together, for those who may know them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

import pytest
from django.http import HttpRequest
from django.test import RequestFactory

from project.telemetry import metrics as telemetry
from project.telemetry.metrics import Reading, metrics, register_collector, render_metrics

COUNT = (
    # the celery program imports it before us, with Flower
    "import prometheus_client, os, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'project.settings'; django.setup();"
    "from project.telemetry.metrics import TASKS; TASKS.labels('test.several', 'success').inc()"
)


@pytest.fixture(autouse=True)
def no_collectors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "_collectors", [])


def test_counts_of_several_processes_are_added_until_cleaned() -> None:
    for _ in range(2):
        subprocess.run([sys.executable, "-c", COUNT], check=True, env=os.environ, timeout=60)
    line = b'mailmirror_tasks_total{outcome="success",task="test.several"} '
    assert line + b"2.0" in render_metrics()
    telemetry.clean_metrics()
    assert line not in render_metrics()


def test_registered_figures_are_computed_and_one_that_fails_hides_no_other() -> None:
    def lag() -> Iterable[Reading]:
        return [
            Reading("test_lag_seconds", "Lag.", 2.5, {"shard": "0"}),
            Reading("test_lag_seconds", "Lag.", 4, {"shard": "1"}),
        ]

    def broken() -> Iterable[Reading]:
        raise RuntimeError("locked")

    register_collector(broken)
    register_collector(lag)
    register_collector(lag)
    text = render_metrics().decode()
    assert text.count('test_lag_seconds{shard="0"} 2.5') == 1
    assert 'test_lag_seconds{shard="1"} 4.0' in text
    assert "mailmirror_collectors_failed 1.0" in text


def asked(**headers: Any) -> int:
    """Return the status that a caller gets."""
    request: HttpRequest = RequestFactory().get("/metrics", **headers)
    return metrics(request).status_code


def test_without_a_token_only_callers_of_this_host_are_answered(settings: Any) -> None:
    settings.METRICS_TOKEN = None
    assert asked(REMOTE_ADDR="127.0.0.1") == 200
    assert asked(REMOTE_ADDR="::1") == 200
    assert asked(REMOTE_ADDR="192.0.2.1") == 403
    assert asked(REMOTE_ADDR="") == 403
    assert asked(REMOTE_ADDR="127.0.0.1", HTTP_X_FORWARDED_FOR="192.0.2.1") == 403
    assert asked(REMOTE_ADDR="127.0.0.1", HTTP_FORWARDED="for=192.0.2.1") == 403


def test_with_a_token_only_who_knows_it_is_answered(settings: Any) -> None:
    settings.METRICS_TOKEN = "right"
    assert asked(REMOTE_ADDR="127.0.0.1") == 403
    assert asked(HTTP_AUTHORIZATION="Bearer wrong") == 403
    assert asked(REMOTE_ADDR="192.0.2.1", HTTP_AUTHORIZATION="Bearer right") == 200


def test_two_workers_of_a_host_take_two_ports() -> None:
    code = (
        COUNT + "; from project.telemetry.metrics import serve_own_metrics as serve;"
        "import urllib.request as u; ports = [serve(21900, '127.0.0.1'), serve(21900, '127.0.0.1')];"
        "assert ports[0] != ports[1], ports;"
        "[print(u.urlopen(f'http://127.0.0.1:{port}/metrics', timeout=5).read().decode()) for port in ports]"
    )
    done = subprocess.run([sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('mailmirror_tasks_total{outcome="success",task="test.several"} 1.0') == 2
