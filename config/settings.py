"""Settings, all of them, read from the environment by django-environ.

`.env.example` lists every variable. Production (`APP_ENV=production`, which is
the default) starts with nothing missing and nothing assumed: each missing
secret is named. `APP_ENV=embedded` is what `./dev` sets.
"""

import os
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import environ
import pghistory
from celery.schedules import crontab
from django.core.exceptions import ImproperlyConfigured
from redis.backoff import NoBackoff
from redis.retry import Retry

from config.contract import logs
from config.contract.pools import RECONNECT

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
env.escape_proxy = False


def required(name: str) -> str:
    """Return a variable that must be set. Raises ImproperlyConfigured naming it."""
    value: str = env.str(name, default="")
    if not value:
        raise ImproperlyConfigured(f"{name} is not set: Metergate does not start without it")
    return value


def seconds(name: str, default: float) -> timedelta:
    """Return a length of time given in seconds."""
    value: float = env.float(name, default=default)
    if value < 0:
        raise ImproperlyConfigured(f"{name} must not be negative")
    return timedelta(seconds=value)


def one_of(name: str, *choices: str, default: str | None = None) -> str:
    """Return a variable that takes one of a few words. Raises ImproperlyConfigured otherwise."""
    value: str = env.str(name, default=default or "")
    if value not in choices:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(choices)}")
    return value


# --- What runs here -----------------------------------------------------------

SERVICE_NAME = "metergate"
SERVICE_VERSION = "0.1.0"
APP_ENV = one_of("APP_ENV", "embedded", "production", default="production")
EMBEDDED = APP_ENV == "embedded"
#: web | worker | command: decides time-outs and pooling. Each entry point sets it.
PROCESS_ROLE = one_of("PROCESS_ROLE", "web", "worker", "command", default="command")
DEBUG = env.bool("DEBUG", default=False)
if DEBUG and not EMBEDDED:
    raise ImproperlyConfigured("DEBUG is for the embedded run only")
DATA_DIR = Path(env.str("DATA_DIR", default=str(BASE_DIR / ".data")))
PORT = env.int("PORT", default=8000)

SECRET_KEY = required("SECRET_KEY")
#: Keys the hashes of codes and refresh tokens, and derives codes that are never stored.
TOKEN_HASH_KEY = required("TOKEN_HASH_KEY")
#: `kid:base64url(PKCS8 DER)` comma separated; the first signs, all verify.
TOKEN_SIGNING_KEYS = required("TOKEN_SIGNING_KEYS")
#: Seals closed statements; held outside the database on purpose.
STATEMENT_KEY = required("STATEMENT_KEY")

# --- Web ----------------------------------------------------------------------

ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["*"] if EMBEDDED else [])
if not ALLOWED_HOSTS:
    raise ImproperlyConfigured("ALLOWED_HOSTS is not set: Metergate does not start without it")
PUBLIC_URL = (
    env.str("PUBLIC_URL", default=f"http://127.0.0.1:{PORT}")
    if EMBEDDED
    else required("PUBLIC_URL")
).rstrip("/")
TENANT_HEADER = env.str("TENANT_HEADER", default="x-tenant-id").lower()
#: How many proxies of ours stand in front; none is trusted by default.
TRUSTED_PROXIES = env.int("TRUSTED_PROXIES", default=0)
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
APPEND_SLASH = False
USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False
LANGUAGE_CODE = "en"
#: The history of tracked rows (config.contract.history): whole, in place, and only growing.
PGHISTORY_APPEND_ONLY = True
PGHISTORY_CONTEXT_FIELD = pghistory.ContextJSONField()
PGHISTORY_DEFAULT_TRACKERS = (
    pghistory.InsertEvent(),
    pghistory.UpdateEvent(),
    pghistory.DeleteEvent(),
)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
#: Bodies are capped per route (config.contract.bodies), before they are read.
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024
#: Threads of a web process (config.edge): for checks, single uses and Stripe's events; for
#: what may ask Stripe, most of which only wait; and for all else.
WEB_HOT_THREADS = env.int("WEB_HOT_THREADS", default=4)
STRIPE_PLACES = env.int("STRIPE_PLACES", default=18)
WEB_WIDE_THREADS = env.int("WEB_WIDE_THREADS", default=4)
#: Seconds that a request's head may take to arrive, and an idle connection to bring the next.
WEB_HEAD_SECONDS = env.float("WEB_HEAD_SECONDS", default=30.0)
#: Seconds after which a client that takes nothing of its answer is given up on.
WEB_ANSWER_SECONDS = env.float("WEB_ANSWER_SECONDS", default=30.0)
#: Seconds that a request's body may take to arrive, and one more for each 64 KiB of it.
WEB_BODY_SECONDS = env.float("WEB_BODY_SECONDS", default=10.0)
if min(WEB_HOT_THREADS, WEB_WIDE_THREADS) < 1:
    raise ImproperlyConfigured("WEB_HOT_THREADS and WEB_WIDE_THREADS must be 1 or more")
HOT_ROUTES = frozenset({"api/quota/check", "api/v1/usage", "api/v1/usage/batch"})
QUIET_ROUTES = ("healthz", "readyz", "metrics", "static/")

if not EMBEDDED:
    SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", default=True)
    #: Those that watch us are answered over plain http, calls are refused there
    #: (config.machines): pages alone are led to https.
    SECURE_REDIRECT_EXEMPT = [
        r"^(?:healthz|readyz|metrics)$",
        r"^api/(?!docs)",
        r"^\.well-known/",
    ]
    SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", default=31_536_000)
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
    # Bound to this host: no other name under its domain can plant one.
    SESSION_COOKIE_NAME = "__Host-sessionid"
    CSRF_COOKIE_NAME = "__Host-csrftoken"
    if TRUSTED_PROXIES:
        SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
#: A session of staff ends when nothing was asked for so long, and so long after the log-in.
STAFF_SESSION_IDLE = seconds("STAFF_SESSION_IDLE", 30 * 60)
STAFF_SESSION_LIFE = seconds("STAFF_SESSION_LIFE", 12 * 3600)
if not timedelta(minutes=1) <= STAFF_SESSION_IDLE <= STAFF_SESSION_LIFE:
    raise ImproperlyConfigured(
        "STAFF_SESSION_IDLE must be 60 or more, and STAFF_SESSION_LIFE no less than that"
    )
SESSION_COOKIE_AGE = int(STAFF_SESSION_IDLE.total_seconds())
CSRF_COOKIE_HTTPONLY = True  # forms and /api/docs carry the token; no script reads the cookie
#: Not in a cookie of its own, whose name knows no prefix.
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
X_FRAME_OPTIONS = "DENY"
CSRF_FAILURE_VIEW = "config.fallbacks.csrf_failure"
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
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
    "django_structlog",
    "axes",
    "csp",
    "pgtrigger",
    "pghistory",
    "config.contract",
    "tokens",
    "quotas",
    "usage",
    "billing",
    "webhooks",
    # Last: its roles speak of every app's permissions.
    "config.backoffice",
]

MIDDLEWARE = [
    "config.contract.middleware.ContextMiddleware",
    "config.backoffice.csp.PolicyMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "config.machines.MachineMiddleware",
    "tokens.cors.CorsMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "config.backoffice.pages.Sessions",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "config.backoffice.pages.Users",
    "config.backoffice.pages.Messages",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
    "usage.metered.QuotaMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
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
STATIC_URL = "/static/"
#: Where `collectstatic` puts the files. Embedded, they are served from their packages.
STATIC_ROOT = env.str("STATIC_ROOT", default="" if EMBEDDED else str(BASE_DIR / "staticfiles"))
WHITENOISE_USE_FINDERS = EMBEDDED
WHITENOISE_AUTOREFRESH = False

# --- PostgreSQL: the only truth -----------------------------------------------

#: All threads of a web process, and one for /readyz and /metrics. Each may hold one connection
#: of either pool.
WEB_THREADS = WEB_HOT_THREADS + WEB_WIDE_THREADS + STRIPE_PLACES + 1
_WEB_POOL = env.int("DATABASE_POOL_SIZE", default=WEB_THREADS)
#: Longer than PostgreSQL waits before it looks for a deadlock (deadlock_timeout, 1 s unless the
#: server says otherwise): of two time-outs at one instant it reports this one, and who is
#: in a deadlock would be told no where a second try is made for them.
_LOCK_TIMEOUT_MS = 1_500
_STATEMENT_TIMEOUT_MS = {"web": 2_000, "worker": 30_000, "command": 0}[PROCESS_ROLE]


def _database(url_name: str) -> dict[str, Any]:
    config: dict[str, Any] = environ.Env.db_url_config(required(url_name))
    if config["ENGINE"] != "django.db.backends.postgresql":
        raise ImproperlyConfigured(f"{url_name} must name a PostgreSQL database")
    options = config.setdefault("OPTIONS", {})
    host = options.pop("host", None)  # postgres:///name?host=/socket/folder
    if host:
        config["HOST"] = host
    options["options"] = (
        f"-c statement_timeout={_STATEMENT_TIMEOUT_MS} -c lock_timeout={_LOCK_TIMEOUT_MS}"
        " -c idle_in_transaction_session_timeout=5000 -c timezone=UTC -c synchronous_commit=on"
    )
    # A server that is gone without a word (its host, the network) is given up on as soon.
    options.setdefault("connect_timeout", 2)
    options.setdefault("tcp_user_timeout", 10_000)
    options.setdefault("keepalives_idle", 5)
    options.setdefault("keepalives_interval", 2)
    options.setdefault("keepalives_count", 3)
    config["ATOMIC_REQUESTS"] = False
    config["CONN_MAX_AGE"] = 0 if PROCESS_ROLE == "web" else 60
    config["CONN_HEALTH_CHECKS"] = PROCESS_ROLE == "worker"
    if PROCESS_ROLE == "web":
        options["pool"] = {
            "min_size": 0,
            "max_size": _WEB_POOL,
            "timeout": 2,
            "max_idle": 60,
            "name": "django",
            **RECONNECT,
        }
    return config


DATABASES = {"default": _database("DATABASE_URL")}
HOT_POOL_SIZE = env.int("HOT_POOL_SIZE", default=WEB_THREADS)

# --- Valkey: a fast copy, and the broker --------------------------------------

VALKEY_URL = env.str("VALKEY_URL", default="") or required("REDIS_URL")
CELERY_BROKER_URL = required("CELERY_BROKER_URL")
#: Longest time a request waits for Valkey before it goes to PostgreSQL, in seconds.
COPY_TIMEOUT = env.float("COPY_TIMEOUT", default=0.1)
#: Life of one organisation's copy: how long a lost publish can matter, in seconds.
COPY_TTL = env.float("COPY_TTL", default=10.0)
_NO_RETRY = Retry(NoBackoff(), 0)  # redis-py retries by default; a lost reply would count twice
CACHES: dict[str, dict[str, Any]] = {
    # What the admin's theme remembers of its search: objects, pickled, so nowhere but here.
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "valkey": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": VALKEY_URL,
        "KEY_PREFIX": "cache",
        "OPTIONS": {
            "CLIENT_CLASS": "django_redis.client.DefaultClient",
            # Not its own default, pickle: who writes to Valkey must not run code here.
            "SERIALIZER": "django_redis.serializers.json.JSONSerializer",
            "SOCKET_CONNECT_TIMEOUT": COPY_TIMEOUT,
            "SOCKET_TIMEOUT": COPY_TIMEOUT,
            "IGNORE_EXCEPTIONS": True,
            "CONNECTION_POOL_KWARGS": {"retry": _NO_RETRY, "max_connections": 32},
        },
    },
}
DJANGO_REDIS_LOG_IGNORED_EXCEPTIONS = False

# --- Celery: a doorbell -------------------------------------------------------

CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_TIME_LIMIT = 120
CELERY_TASK_SOFT_TIME_LIMIT = 100
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 300,
    # A request rings and goes on: no broker, dead or hanging, may hold it up.
    "socket_timeout": 0.25 if PROCESS_ROLE == "web" else 2,
    "socket_connect_timeout": 0.25,
    "max_retries": 0,
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # a worker outlives any outage of the broker
CELERY_TASK_PUBLISH_RETRY = False
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 10
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
#: Seconds for which a worker that hears nothing, though it was rung for due work, goes on.
WORKER_PATIENCE = env.float("WORKER_PATIENCE", default=15.0)
CELERY_BEAT_SCHEDULE = {
    # Each job may run twice, late or never without harm; `expires` keeps a
    # worker that was away from doing the same work many times over.
    "finish-sign-ups": {
        "task": "billing.tasks.finish_sign_ups",
        "schedule": 10.0,
        "options": {"expires": 10},
    },
    "finish-plan-changes": {
        "task": "billing.tasks.finish_changes",
        "schedule": 10.0,
        "options": {"expires": 10},
    },
    "follow-contacts": {
        "task": "billing.tasks.follow_contacts",
        "schedule": 5.0,
        "options": {"expires": 5},
    },
    "mail-contacts": {
        "task": "billing.tasks.mail_contacts",
        "schedule": 10.0,
        "options": {"expires": 10},
    },
    "mail-notification-addresses": {
        "task": "billing.tasks.mail_addresses",
        "schedule": 10.0,
        "options": {"expires": 10},
    },
    "charge-overage": {
        "task": "billing.tasks.charge_overage",
        "schedule": crontab(minute="*/10"),
        "options": {"expires": 600},
    },
    "end-checkout-trials": {
        "task": "billing.tasks.end_checkout_trials",
        "schedule": crontab(minute="*/10"),
        "options": {"expires": 600},
    },
    "announce-crossings": {
        "task": "billing.tasks.announce_crossings",
        "schedule": 5.0,
        "options": {"expires": 5},
    },
    "announce-trial-ends": {
        "task": "billing.tasks.announce_trial_ends",
        "schedule": crontab(minute="*/10"),
        "options": {"expires": 600},
    },
    "deliver-notifications": {
        "task": "billing.tasks.deliver_notifications",
        "schedule": 5.0,
        "options": {"expires": 5},
    },
    "forget-answers": {
        "task": "billing.tasks.forget_answers",
        "schedule": crontab(minute="41"),
        "options": {"expires": 1800},
    },
    "work-off-webhooks": {
        "task": "webhooks.tasks.sweep",
        "schedule": 2.0,
        "options": {"expires": 2},
    },
    "ask-about-overdue-changes": {
        "task": "webhooks.tasks.ask_overdue",
        "schedule": 30.0,
        "options": {"expires": 30},
    },
    "fill-webhook-gaps": {
        "task": "webhooks.tasks.fill_gaps",
        "schedule": crontab(minute="7"),
        "options": {"expires": 1800},
    },
    "reconcile-with-stripe": {
        "task": "webhooks.tasks.reconcile",
        "schedule": crontab(hour="3", minute="23"),
        "options": {"expires": 3600},
    },
    "forget-webhook-payloads": {
        "task": "webhooks.tasks.forget_payloads",
        "schedule": crontab(hour="4", minute="11"),
        "options": {"expires": 3600},
    },
    "roll-periods-over": {
        "task": "quotas.tasks.roll_periods_over",
        "schedule": crontab(minute="0"),
        "options": {"expires": 1800},
    },
    "finish-exports": {
        "task": "config.backoffice.tasks.finish_exports",
        "schedule": 30.0,
        "options": {"expires": 30},
    },
    "forget-exports": {
        "task": "config.backoffice.tasks.forget_exports",
        "schedule": crontab(minute="53"),
        "options": {"expires": 1800},
    },
    "forget-denials": {
        "task": "quotas.tasks.forget_denials",
        "schedule": crontab(minute="29"),
        "options": {"expires": 1800},
    },
    "sample-counters": {
        "task": "usage.tasks.sample_counters",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "roll-days-up": {
        "task": "usage.tasks.roll_days_up",
        "schedule": crontab(minute="*/5"),
        "options": {"expires": 300},
    },
    "roll-recent-days-up": {
        "task": "usage.tasks.roll_recent_days_up",
        "schedule": crontab(hour="2", minute="37"),
        "options": {"expires": 3600},
    },
    "forget-expired-tokens": {
        "task": "tokens.tasks.forget_expired",
        "schedule": crontab(minute="17"),
        "options": {"expires": 1800},
    },
}

# --- Stripe -------------------------------------------------------------------

STRIPE_MODE = one_of("STRIPE_MODE", "sandbox", "live", default="sandbox" if EMBEDDED else None)
_ALLOW_SANDBOX = env.bool("ALLOW_SANDBOX", default=False)
if not EMBEDDED and STRIPE_MODE == "sandbox" and not _ALLOW_SANDBOX:
    raise ImproperlyConfigured("STRIPE_MODE=sandbox in production needs ALLOW_SANDBOX=1")
_API_BASE = env.str("STRIPE_API_BASE", default="")
if not EMBEDDED and _API_BASE and not _ALLOW_SANDBOX:
    raise ImproperlyConfigured("STRIPE_API_BASE in production needs ALLOW_SANDBOX=1")
STRIPE_API_KEY = required("STRIPE_API_KEY")
STRIPE_WEBHOOK_SECRETS = [s for s in env.list("STRIPE_WEBHOOK_SECRETS", default=[]) if s]
if not STRIPE_WEBHOOK_SECRETS:
    raise ImproperlyConfigured(
        "STRIPE_WEBHOOK_SECRETS is not set: Metergate does not start without it"
    )
#: Our account's id, where events may name it; those that name another one are ignored.
STRIPE_ACCOUNT = env.str("STRIPE_ACCOUNT", default="")
#: Hosts that Stripe's portal may lead back to, besides our own.
ALLOWED_RETURN_HOSTS = env.list("ALLOWED_RETURN_HOSTS", default=[])
#: The built-in sandbox (or another double) in place of Stripe; None means Stripe itself.
STRIPE_BASE_URL: str | None = _API_BASE or (
    env.str("SANDBOX_URL", default="http://127.0.0.1:8001") if STRIPE_MODE == "sandbox" else None
)
#: Only an installation that charges nobody may move its clock.
CLOCK_MAY_MOVE = STRIPE_MODE == "sandbox"

#: How many requests of a web process may ask Stripe at once, and ask or wait for their turn
#: together; of one organisation; and how long they wait, in seconds (billing.stripe_gateway).
STRIPE_CALLERS = {
    "at_once": env.int("STRIPE_CALLERS", default=6),
    "at_once_per_org": env.int("STRIPE_CALLERS_PER_ORG", default=3),
    "places": STRIPE_PLACES,
    "places_per_org": env.int("STRIPE_PLACES_PER_ORG", default=14),
    "wait_seconds": env.float("STRIPE_WAIT_SECONDS", default=2.5),
}
if min(STRIPE_CALLERS.values()) <= 0:
    raise ImproperlyConfigured("STRIPE_CALLERS, STRIPE_PLACES and their shares must be above 0")

# --- Rules an operator may set ------------------------------------------------

TRIAL_GRACE = seconds("TRIAL_GRACE", 24 * 3600)
PAST_DUE_GRACE = seconds("PAST_DUE_GRACE", 7 * 24 * 3600)
#: How long what a settled webhook event said is kept; that it came is kept for ever.
WEBHOOK_PAYLOAD_AGE = timedelta(days=env.int("WEBHOOK_PAYLOAD_DAYS", default=90))
#: How long it is kept what was denied, of how many requests of one row the ids are
#: kept, and how often a process writes its denials down (seconds; 0: only as asked).
DENIAL_DAYS = env.int("DENIAL_DAYS", default=90)
DENIAL_REQUESTS = env.int("DENIAL_REQUESTS", default=1000)
DENIAL_FLUSH = env.float("DENIAL_FLUSH", default=0.25)
#: Where owners' webhooks may be sent (billing.notifications.destinations).
NOTIFY_PORTS = frozenset(env.list("NOTIFY_PORTS", cast=int, default=[443, 8443]))
#: This machine too, over http and on any port: for trying things out.
NOTIFY_LOOPBACK = env.bool("NOTIFY_LOOPBACK", default=EMBEDDED)
if NOTIFY_LOOPBACK and not EMBEDDED:
    raise ImproperlyConfigured("NOTIFY_LOOPBACK is for the embedded run only")
#: Seconds that one webhook may take, once it is connected.
NOTIFY_SECONDS = env.float("NOTIFY_SECONDS", default=10.0)
#: How long before its end an owner hears of it.
TRIAL_ENDING_NOTICE = timedelta(days=3)
#: Lists of staff as files: where they lie (web and workers share it), how long they may
#: be fetched, and how many rows are sent at once without one.
EXPORT_DIR = Path(env.str("EXPORT_DIR", default=str(DATA_DIR / "exports")))
EXPORT_LIFE = timedelta(hours=env.int("EXPORT_HOURS", default=24))
EXPORT_AT_ONCE = env.int("EXPORT_AT_ONCE", default=5000)
EVENT_AHEAD = timedelta(minutes=5)
LATE_GRACE_BLOCK = timedelta(minutes=15)
LATE_GRACE_ALLOW = timedelta(hours=72)
SIGNUP_RETURNS_CODE = env.bool("SIGNUP_RETURNS_CODE", default=EMBEDDED)
ACTIVATION_CODE_LIFE = timedelta(minutes=15)
ACCESS_TOKEN_LIFE = timedelta(minutes=10)
REFRESH_TOKEN_LIFE = timedelta(days=30)
#: A link to the owner's usage page, and the visit it is traded for.
PORTAL_LINK_LIFE = timedelta(minutes=15)
PORTAL_VISIT_LIFE = timedelta(minutes=30)
#: The link that confirms an e-mail address.
EMAIL_LINK_LIFE = timedelta(hours=24)
#: Browsers keep a `__Host-` cookie only over https, and from this host alone.
PORTAL_COOKIES_SECURE = not EMBEDDED or PUBLIC_URL.startswith("https://")
TOKEN_ISSUER = PUBLIC_URL
TOKEN_AUDIENCE = SERVICE_NAME
STAFF_AUDIENCE = "metergate-staff"
#: `limits` notation; an empty string switches a throttle off.
THROTTLE_SIGNUP = env.str("THROTTLE_SIGNUP", default="600/minute" if EMBEDDED else "10/hour")
#: Links to new addresses, per organisation: nobody is to be flooded with mail of ours.
THROTTLE_EMAIL_LINKS = env.str(
    "THROTTLE_EMAIL_LINKS", default="600/minute" if EMBEDDED else "10/hour"
)
#: The same per address, whoever asks: a stranger's is not to be flooded by many of us.
THROTTLE_LINKS_PER_ADDRESS = env.str(
    "THROTTLE_LINKS_PER_ADDRESS", default="600/minute" if EMBEDDED else "10/day"
)
#: SetupIntents and pages of Stripe's (each is a call there), and links to the usage page:
#: per organisation, whichever of its tokens or of ours asks.
THROTTLE_STRIPE_PAGES = env.str(
    "THROTTLE_STRIPE_PAGES", default="6000/hour" if EMBEDDED else "60/hour"
)
THROTTLE_PORTAL_LINKS = env.str(
    "THROTTLE_PORTAL_LINKS", default="6000/hour" if EMBEDDED else "120/hour"
)
THROTTLE_TOKENS = env.str("THROTTLE_TOKENS", default="600/minute" if EMBEDDED else "30/minute")
THROTTLE_ADMIN_TOKEN = env.str(
    "THROTTLE_ADMIN_TOKEN", default="600/minute" if EMBEDDED else "10/minute"
)
THROTTLE_HOT = env.str("THROTTLE_HOT", default="" if EMBEDDED else "500/second")

# --- Staff --------------------------------------------------------------------

AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "config.backoffice.second_factor.login.PasswordAndCode",
]
#: A second factor for who wants one: there where the extra `mfa` is installed.
_MFA_INSTALLED = find_spec("django_otp") is not None
STAFF_MFA = env.bool("STAFF_MFA", default=_MFA_INSTALLED)
if STAFF_MFA and not _MFA_INSTALLED:
    raise ImproperlyConfigured("STAFF_MFA needs the extra: pip install -r requirements/mfa.txt")
#: Whether nobody of staff gets in without one: who has none sets it up as they log in.
STAFF_MFA_REQUIRED = env.bool("STAFF_MFA_REQUIRED", default=False)
if STAFF_MFA_REQUIRED and not STAFF_MFA:
    raise ImproperlyConfigured("STAFF_MFA_REQUIRED needs STAFF_MFA (requirements/mfa.txt)")
if STAFF_MFA:
    INSTALLED_APPS[-1:-1] = ["django_otp", "django_otp.plugins.otp_totp"]
OTP_TOTP_ISSUER = "Metergate"
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "config.backoffice.passwords.GuessablePasswordValidator"},
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
#: Five failures of one name from one address, at the page or the API, and both are shut to it.
#: Failures of one name from anywhere, and from one address at any name: the slow guessers.
STAFF_FAILURES_PER_NAME = env.str("STAFF_FAILURES_PER_NAME", default="") or "50/day"
STAFF_FAILURES_PER_ADDRESS = env.str("STAFF_FAILURES_PER_ADDRESS", default="") or "50/day"
#: How long it is kept who logged in as staff, failed to or was locked out. The database
#: refuses to forget what is younger than 90 days (tokens.models.StaffLogIn).
STAFF_LOG_IN_AGE = timedelta(days=env.int("STAFF_LOG_IN_DAYS", default=365))
if timedelta(days=90) > STAFF_LOG_IN_AGE:
    raise ImproperlyConfigured("STAFF_LOG_IN_DAYS must be 90 or more")
AXES_HANDLER = "config.backoffice.lockout.LockoutHandler"
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_LOCKOUT_CALLABLE = "config.backoffice.lockout.locked_out"
AXES_CLIENT_IP_CALLABLE = "tokens.throttles.client_address"
AXES_RESET_ON_SUCCESS = True
AXES_ENABLE_ADMIN = False  # its tables stay empty: the counts are in Valkey
AXES_VERBOSE = False

# --- REST ---------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "config.contract.openapi.schema.ContractSchema",
    "EXCEPTION_HANDLER": "config.contract.responses.handle",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Metergate",
    "DESCRIPTION": "Metered subscriptions: usage counted once, quotas decided in real time.",
    "VERSION": SERVICE_VERSION,
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api",
    "COMPONENT_SPLIT_REQUEST": True,
    "SORT_OPERATIONS": False,
    "POSTPROCESSING_HOOKS": [
        "config.apidocs.add_plain_routes",
        "config.contract.openapi.schema.add_shared_components",
    ],
}

# --- Mail, pages --------------------------------------------------------------

EMAIL_TIMEOUT = 10  # seconds; Django's default is for ever
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="Metergate <no-reply@localhost>")
if EMBEDDED:
    EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    EMAIL_FILE_PATH = str(DATA_DIR / "mail")
else:
    vars().update(environ.Env.email_url_config(required("EMAIL_URL")))

#: What every page may do; config.backoffice.csp adds what the admin and the docs need.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "object-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "font-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
        "base-uri": ["'none'"],
    }
}
FORMAT_MODULE_PATH = "config.backoffice.formats"
UNFOLD = {
    "SITE_TITLE": "Metergate",
    "SITE_HEADER": "Metergate",
    "SITE_SUBHEADER": "Times are in UTC",
    "SITE_SYMBOL": "speed",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": "config.backoffice.assets.icon"}
    ],
    "SITE_URL": None,
    "STYLES": ["config.backoffice.assets.stylesheet"],
    "LOGIN": {"form": "config.backoffice.second_factor.login.LogInForm" if STAFF_MFA else None},
    "ACCOUNT": {"navigation": "config.backoffice.navigation.account"},
    "SHOW_VIEW_ON_SITE": False,
    "DASHBOARD_CALLBACK": "config.backoffice.dashboard.page.dashboard",
    "SIDEBAR": {
        "show_search": True,
        "navigation": "config.backoffice.navigation.sidebar",
    },
}

# --- Logs ---------------------------------------------------------------------

DJANGO_STRUCTLOG_CELERY_ENABLED = True
LOGGING = logs.configure(service=SERVICE_NAME, version=SERVICE_VERSION, level=logs.get_level(DEBUG))
os.environ.setdefault("STRIPE_SUPPRESS_NOTICES", "true")
