"""small_site -- a Django site in one process, for the tests of pinroute.django and multidb.
configure() before the models are imported; the views are whatever a test puts into `views`."""
import os
import sys

SOURCE = os.environ.get("PINROUTE_SOURCE") or os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
BUILD = os.environ.get("PINROUTE_BUILD") or os.path.join(SOURCE, "build", "dev")
sys.path[:0] = [os.path.join(BUILD, "python"), os.path.join(SOURCE, "tests", "scenario")]
os.environ.pop("PINROUTE_DIR", None)

views = {}  # path -> view


def in_memory(*aliases):
    """DATABASES that need no server."""
    return {alias: {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"} for alias in aliases}


def configure(databases, package="pinroute.django", **more):
    """Settings as a site would have them, and the application registry."""
    import django
    from django.conf import settings

    settings.configure(
        DATABASES=databases, DATABASE_ROUTERS=[f"{package}.PinningReplicaRouter"], SECRET_KEY="s", ALLOWED_HOSTS=["*"],
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions", "small_site"],
        MIDDLEWARE=[f"{package}.middleware.PinningRouterMiddleware", *MIDDLEWARE], USE_TZ=True,
        ROOT_URLCONF="small_site.urls", DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        LOGGING_CONFIG=None, **more)
    django.setup()


MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware",
              "django.contrib.auth.middleware.AuthenticationMiddleware"]
