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

from api.dechunk import Dechunk
from project.telemetry.logs import configure_logging

configure_logging(settings.LOG_FORMAT, settings.LOG_LEVEL)

application = Dechunk(_django)
