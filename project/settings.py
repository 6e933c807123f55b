"""All settings. Every value that an operator may set is read through `project.env`; docs/operating.md lists them."""

from __future__ import annotations

import importlib.util
import os
import secrets
import socket
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import psutil

from project import env
from project.data_dir import kept_port, secret_path

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = env.directory("DATA_DIR", BASE_DIR / "var")

HOST = env.host_name("HOST", "127.0.0.1")
PORT = env.integer("PORT", 8000, least=1, most=65535)
#: Addresses that mean "every address of this machine".
EVERYWHERE = {"0.0.0.0", "::", "*"}  # noqa: S104 -- compared with, not bound to

#: What PostgreSQL's time limits depend on: web 5 s a statement, worker 60 s, command none.
PROCESS_ROLE = env.choice("PROCESS_ROLE", "command", ["web", "worker", "command"])


def public_url() -> str:
    """Return how clients reach us, without a slash at the end."""
    host = "127.0.0.1" if HOST in EVERYWHERE else HOST
    parts = env.url("PUBLIC_URL", ["http", "https"], public=True)
    if parts is None:
        return f"http://{f'[{host}]' if ':' in host else host}:{PORT}"
    if not parts.hostname or parts.query or parts.fragment:
        raise env.refuse("PUBLIC_URL", env.raw("PUBLIC_URL"), "http:// or https://, a host and at most a path")
    return parts.geturl().rstrip("/")


def own_names() -> list[str]:
    """Return the names and addresses of this machine."""
    addresses = [address.address for every in psutil.net_if_addrs().values() for address in every]
    ips = [address.partition("%")[0] for address in addresses if address.count(":") != 5]
    return [socket.gethostname(), socket.getfqdn(), *(f"[{ip}]" if ":" in ip else ip for ip in ips)]


def allowed_hosts() -> list[str]:
    """Return the host names answered to."""
    public = urlsplit(PUBLIC_URL).hostname or ""
    always = ["localhost", "127.0.0.1", "[::1]", f"[{public}]" if ":" in public else public]
    return [*always, *env.words("ALLOWED_HOSTS"), *(own_names() if HOST in EVERYWHERE else [])]


PUBLIC_URL = public_url()
ALLOWED_HOSTS = allowed_hosts()
CSRF_TRUSTED_ORIGINS = ["{0.scheme}://{0.netloc}".format(urlsplit(PUBLIC_URL))]
if PUBLIC_URL.startswith("https:"):
    # TLS ends at a proxy, which must set this header itself (docs/operating.md)
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True

# Databases

DB_POOL_SIZE = env.integer("DB_POOL_SIZE", 10, least=1, most=1000)
EMBEDDED_DATABASE = env.secret("DATABASE_URL") is None
EMBEDDED_REDIS = env.secret("REDIS_URL") is None
DATABASE_ENGINE = (
    "project.postgres" if importlib.util.find_spec("project.postgres.base") else "django.db.backends.postgresql"
)


def embedded_database() -> dict[str, Any]:
    """Return where the embedded PostgreSQL is found."""
    password = env.kept_secret(secret_path(DATA_DIR, "postgres"))
    port = str(kept_port(DATA_DIR, "postgres"))
    return {"NAME": "mailmirror", "USER": "mailmirror", "PASSWORD": password, "HOST": "127.0.0.1", "PORT": port}


def shard_number(name: str) -> int:
    """Return the n of SHARD_<n>_URL."""
    number = name.removeprefix("SHARD_").removesuffix("_URL").removesuffix("_URL_FILE")
    if not number.isascii() or not number.isdigit() or not 1 <= int(number) <= 32767 or number.startswith("0"):
        raise env.BadSetting(f"{name}: allowed: SHARD_<n>_URL with n from 1 to 32767")
    return int(number)


def databases() -> dict[str, dict[str, Any]]:
    """Return `default` and a `shard_<n>` for each SHARD_<n>_URL."""
    found: dict[str, dict[str, Any]] = {"default": env.database("DATABASE_URL") or embedded_database()}
    for name in sorted(os.environ):
        if name.startswith("SHARD_") and name.endswith(("_URL", "_URL_FILE")):
            shard = env.database(name.removesuffix("_FILE"))
            if shard is not None:
                found[f"shard_{shard_number(name)}"] = shard
    return {alias: complete(database) for alias, database in found.items()}


def complete(database: dict[str, Any]) -> dict[str, Any]:
    """Return a database with our engine and pool; what its URL says of options wins."""
    return {
        "ENGINE": DATABASE_ENGINE,
        **database,
        "OPTIONS": {"pool_size": DB_POOL_SIZE, **database.get("OPTIONS", {})},
    }


DATABASES = databases()
DATABASE_ROUTERS = ["project.shards.ShardRouter"] if importlib.util.find_spec("project.shards") else []
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Broker


def redis_url() -> str:
    """Return the Redis-protocol server."""
    parts = env.url("REDIS_URL", ["redis", "rediss", "unix"])
    if parts is not None:
        return parts.geturl()
    password = env.kept_secret(secret_path(DATA_DIR, "valkey"))
    return f"redis://:{password}@127.0.0.1:{kept_port(DATA_DIR, 'valkey')}/0"


def broker_url() -> str:
    """Return where Celery's messages go."""
    parts = env.url("CELERY_BROKER_URL", ["redis", "rediss", "amqp", "amqps", "sqs"])
    return REDIS_URL if parts is None else parts.geturl()


REDIS_URL = redis_url()
CELERY_BROKER_URL = broker_url()

# Secrets


def made(name: str) -> str:
    """Return a secret that is made on first use while the database is embedded."""
    return env.secret_or_made(name, DATA_DIR / "secrets", may_make=EMBEDDED_DATABASE)


def flower_auth() -> str:
    """Return the login of Flower, `user:password`."""
    login = env.secret_or_made(
        "FLOWER_AUTH",
        DATA_DIR / "secrets",
        may_make=EMBEDDED_DATABASE,
        make=lambda: f"admin:{secrets.token_urlsafe(16)}",
    )
    user, separator, password = login.partition(":")
    if not (user and separator and password):
        raise env.refuse("FLOWER_AUTH", None, "user:password")
    return login


def encryption_keys() -> list[str]:
    """Return the keys of sealed credentials, newest first."""
    keys = [key.strip() for key in made("ENCRYPTION_KEYS").split(",") if key.strip()]
    if not keys or any(len(key) < 32 for key in keys):
        raise env.refuse("ENCRYPTION_KEYS", None, "keys of at least 32 characters, newest first, comma-separated")
    return keys


SECRET_KEY = made("SECRET_KEY")
ENCRYPTION_KEYS = encryption_keys()
FLOWER_PORT = env.integer("FLOWER_PORT", min(PORT + 1, 65535), least=1, most=65535)
FLOWER_AUTH = flower_auth()

#: Days that the transaction log goes back.
CHANGELOG_RETENTION_DAYS = 30

# Mail, webhooks

ALLOWED_PRIVATE_NETWORKS = env.networks("ALLOWED_PRIVATE_NETWORKS")
BLOB_STORAGE = env.dotted_path("BLOB_STORAGE")
_proxy = env.url("EGRESS_PROXY", ["http", "https", "socks5", "socks5h"])
EGRESS_PROXY = None if _proxy is None else _proxy.geturl()
_email = env.url("EMAIL_URL", ["smtp", "smtps", "smtp+tls"])
#: None: notices to people are shown in the admin alone.
EMAIL_URL = None if _email is None else _email.geturl()
if _email is not None:
    EMAIL_HOST = _email.hostname or ""
    EMAIL_PORT = _email.port or {"smtp": 25, "smtps": 465, "smtp+tls": 587}[_email.scheme]
    EMAIL_HOST_USER = unquote(_email.username or "")
    EMAIL_HOST_PASSWORD = unquote(_email.password or "")
    EMAIL_USE_SSL = _email.scheme == "smtps"
    EMAIL_USE_TLS = _email.scheme == "smtp+tls"
    EMAIL_TIMEOUT = 20

# Processes

CORES = os.cpu_count() or 1
WEB_CONCURRENCY = env.integer("WEB_CONCURRENCY", 2, least=1, most=256)
SYNC_PROCESSES = env.integer("SYNC_PROCESSES", CORES, least=1, most=256)
SYNC_CONCURRENCY = env.integer("SYNC_CONCURRENCY", 100, least=1, most=10_000)
SYNC_PARTITIONS = env.integer("SYNC_PARTITIONS", 16, least=1, most=1024)
METRICS_TOKEN = env.secret("METRICS_TOKEN")
#: None: off.
METRICS_PORT = env.integer("METRICS_PORT", 0, least=0, most=65535) or None
LOG_FORMAT = env.choice("LOG_FORMAT", "console", ["console", "json"])
LOG_LEVEL = env.choice("LOG_LEVEL", "info", ["debug", "info", "warning", "error"])

# Django

DEBUG = False
INSTALLED_APPS = [
    "project",
    "accounts",
    "sync",
    "api",
    "webhooks",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]
MIDDLEWARE = [
    "api.middleware.RequestIdMiddleware",
    "api.middleware.ErrorEnvelopeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "project.urls"
WSGI_APPLICATION = "project.wsgi.application"
#: The v3 format never redirects, and its paths never end in a slash.
APPEND_SLASH = False
#: 40 MB is the largest message that can be sent; base64 and its neighbours come on top.
DATA_UPLOAD_MAX_MEMORY_SIZE = 64 * 1024 * 1024
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
REST_FRAMEWORK = {
    # sessions are for the admin: under /v3 only keys and tokens count, which each view names
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Mailmirror",
    "VERSION": "3",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("MinimumLengthValidator", "CommonPasswordValidator", "NumericPasswordValidator")
]
SESSION_COOKIE_NAME = "mailmirror_session"
SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

STATIC_URL = "/static/"
# served from the packages themselves: nothing to collect before a start
STATIC_ROOT = None
WHITENOISE_USE_FINDERS = True
