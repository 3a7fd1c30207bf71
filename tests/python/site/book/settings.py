"""settings.py -- what the site is told; the ports of its databases and the daemon's directory come from outside.

BOOK_PORTS     the primary's port, then the replicas', separated by commas
BOOK_ROUTER    the class in pinroute.django: PinningReplicaRouter, or ReplicaRouter to see what pinning is for
PINROUTE_DIR   the daemon's directory
"""
import os

PORTS = os.environ["BOOK_PORTS"].split(",")


def database(port):
    return {"ENGINE": "django.db.backends.postgresql", "HOST": "127.0.0.1", "PORT": port, "NAME": "app", "USER": "app",
            "CONN_MAX_AGE": 60}


DATABASES = {f"shadow-{n}" if n else "default": database(port) for n, port in enumerate(PORTS)}
REPLICA_DATABASES = [alias for alias in DATABASES if alias != "default"]
DATABASE_ROUTERS = ["pinroute.django." + os.environ.get("BOOK_ROUTER", "PinningReplicaRouter")]
PINROUTE_DIR = os.environ["PINROUTE_DIR"]
PINROUTE_TOKEN_HEADER = "X-Pinroute-Token"

INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "book"]
MIDDLEWARE = [
    "book.middleware.WitnessMiddleware",
    "pinroute.django.PinningRouterMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "book.middleware.ApiUserMiddleware",
]
ROOT_URLCONF = "book.urls"
WSGI_APPLICATION = "book.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the tests' time is not for hashing
SECRET_KEY = "known to all who read this"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
LOGGING = {  # Django's own would write an e-mail about each view that fails, to nobody
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "loggers": {"django": {"handlers": ["stderr"], "level": "ERROR"}},
}
