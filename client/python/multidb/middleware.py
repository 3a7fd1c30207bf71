"""middleware.py -- multidb.middleware: the cookie's settings, as functions (0.10 on) and as names (0.6 to 0.9)."""
from pinroute.django.conf import (
    pinning_cookie, pinning_cookie_httponly, pinning_cookie_samesite, pinning_cookie_secure, pinning_seconds,
)
from pinroute.django.middleware import READ_ONLY_METHODS, PinningRouterMiddleware

_NAMES = {
    "PINNING_COOKIE": pinning_cookie,
    "PINNING_SECONDS": pinning_seconds,
    "PINNING_COOKIE_HTTPONLY": pinning_cookie_httponly,
    "PINNING_COOKIE_SAMESITE": pinning_cookie_samesite,
    "PINNING_COOKIE_SECURE": pinning_cookie_secure,
}
__all__ = [
    "READ_ONLY_METHODS", "PinningRouterMiddleware", "pinning_cookie", "pinning_cookie_httponly",
    "pinning_cookie_samesite", "pinning_cookie_secure", "pinning_seconds", *_NAMES,
]


def __getattr__(name):
    """The names are read from the settings whenever somebody asks."""
    if name in _NAMES:
        return _NAMES[name]()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
