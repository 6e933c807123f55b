"""The web application that gunicorn serves."""

from __future__ import annotations

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
os.environ.setdefault("PROCESS_ROLE", "web")

try:
    # reads the settings, which the import below needs
    _django = get_wsgi_application()
except ImproperlyConfigured as error:
    sys.exit(str(error))

from django.conf import settings
from django.urls import get_resolver

from api.dechunk import Dechunk
from project.telemetry.logs import configure_logging

configure_logging(settings.LOG_FORMAT, settings.LOG_LEVEL)

# read here, once for all processes that share this: each would do it at its first request
_patterns = get_resolver().url_patterns

application = Dechunk(_django)
