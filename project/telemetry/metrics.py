"""Figures for Prometheus: counted in every process of this host, told together; others computed when asked.

Each process writes its counts into files of DATA_DIR/metrics; whoever is asked adds them up.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

DIRECTORY = Path(settings.DATA_DIR) / "metrics"
DIRECTORY.mkdir(parents=True, exist_ok=True)
os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(DIRECTORY)

from prometheus_client import (  # noqa: E402
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
    start_http_server,
    values,
)
from prometheus_client.core import GaugeMetricFamily  # noqa: E402
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead  # noqa: E402
from prometheus_client.registry import Collector  # noqa: E402

# chosen when prometheus_client is imported, which Flower, a part of the celery program, does before us
values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]

log = structlog.get_logger(__name__)

TASKS = Counter("mailmirror_tasks", "Tasks that ended, by name and outcome.", ["task", "outcome"])
TASK_SECONDS = Histogram("mailmirror_task_seconds", "How long tasks took.", ["task"])
#: Ports that a worker tries, from METRICS_PORT on: several of them share a host.
PORTS_TRIED = 64
#: What a proxy adds to the requests that it passes on.
PROXY_HEADERS = ("X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Forwarded", "Via")


@dataclass(frozen=True, slots=True)
class Reading:
    """One figure at this moment."""

    name: str
    help: str
    value: float
    labels: dict[str, str] = field(default_factory=dict)


Collect = Callable[[], Iterable[Reading]]
_collectors: list[Collect] = []


def register_collector(collect: Collect) -> None:
    """Have `collect` called whenever somebody asks for the figures, for those that the database knows."""
    if collect not in _collectors:
        _collectors.append(collect)


class Computed(Collector):
    """The figures of every registered collector; one that fails is left out, and counted."""

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Return one family a name."""
        families: dict[str, GaugeMetricFamily] = {}
        failures = 0
        for collect in _collectors:
            try:
                readings = list(collect())
            except Exception:
                # a table that is locked must not hide all other figures
                failures += 1
                log.exception("collector_failed", collector=collect.__qualname__)
                continue
            for reading in readings:
                names = sorted(reading.labels)
                family = families.setdefault(reading.name, GaugeMetricFamily(reading.name, reading.help, labels=names))
                family.add_metric([reading.labels[name] for name in names], reading.value)
        failed = GaugeMetricFamily("mailmirror_collectors_failed", "Figures that could not be computed.")
        failed.add_metric([], failures)
        return [*families.values(), failed]


def clean_metrics() -> None:
    """Drop the counts of processes of an earlier run; call before the first process starts."""
    for path in DIRECTORY.glob("*.db"):
        path.unlink(missing_ok=True)


def forget_process(pid: int) -> None:
    """Drop the gauges of a process that ended; its counts stay, or sums would go down."""
    mark_process_dead(pid, path=str(DIRECTORY))  # type: ignore[no-untyped-call]


def render_metrics() -> bytes:
    """Return the figures of all processes of this host in Prometheus' text format."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(DIRECTORY))  # type: ignore[no-untyped-call]
    registry.register(Computed())
    return generate_latest(registry)


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer with the figures to whoever may know them, else 403."""
    if not may_ask(request):
        return HttpResponse("not for you\n", status=403, content_type="text/plain")
    return HttpResponse(render_metrics(), content_type=CONTENT_TYPE_LATEST)


def may_ask(request: HttpRequest) -> bool:
    """Whether the caller knows METRICS_TOKEN; where there is none, whether it is on this host and not a proxy."""
    if settings.METRICS_TOKEN is not None:
        given = request.headers.get("Authorization", "")
        return hmac.compare_digest(given.encode(), f"Bearer {settings.METRICS_TOKEN}".encode())
    if any(header in request.headers for header in PROXY_HEADERS):
        return False
    try:
        return ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False


def serve_own_metrics(port: int, address: str) -> int:
    """Serve the figures of this process alone on the first free port from `port` on; return it."""
    for candidate in range(port, min(port + PORTS_TRIED, 65536)):
        try:
            start_http_server(candidate, addr=address, registry=REGISTRY)
        except OSError:
            continue
        return candidate
    raise OSError(f"no free port from {port} on for METRICS_PORT")
