"""Which path leads where. The only place, beside settings.py, that names every app."""

from __future__ import annotations

import importlib.util

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from project import health

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("admin/", admin.site.urls),
]
if importlib.util.find_spec("api.urls"):
    urlpatterns.append(path("", include("api.urls")))
