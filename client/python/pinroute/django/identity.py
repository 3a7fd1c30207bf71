"""identity.py -- who makes a request: the keys under which their writes are recorded and their reads are looked up.
Asks no database, and does not touch request.session, whose use would add `Vary: Cookie` to the response."""
import hashlib
import inspect
import logging
import secrets
from threading import get_ident

from django.conf import settings
from django.utils.functional import LazyObject, empty

import pinroute

_NOT_LAZY = {"_wrapped": empty}
log = logging.getLogger("pinroute.django")


def default_key(request):
    """The key of a request as far as it is known by now: `u:` and the primary key of the user, once the application has
    looked at request.user and they are logged in; else `s:` and the session cookie; else None.

    A PINROUTE_KEY of your own may fall back to it:

        def key(request):
            return request.headers.get("X-Api-Key") or pinroute.django.default_key(request)
    """
    return _user_key(request) or _session_key(request)


def _user_key(request):
    for name in ("user", "_cached_user", "_acached_user"):
        user = request.__dict__.get(name)
        while isinstance(user, LazyObject):
            user = user._wrapped
        pk = getattr(user, "pk", None) if user is not empty and getattr(user, "is_authenticated", False) else None
        if pk is not None:
            return f"u:{pk}"
    return None


def _session_key(request):
    cookie = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
    return f"s:{cookie}" if cookie else None


def _later_session_keys(request, response):
    """The session's key when it is a new one: a log-in changes it."""
    if response is not None and settings.SESSION_COOKIE_NAME in response.cookies:
        value = response.cookies[settings.SESSION_COOKIE_NAME].value
    else:
        value = getattr(request.__dict__.get("session"), "session_key", None)
    return [f"s:{value}"] if value else []


def as_key(value):
    """What a key function returned, as the extension takes it: None for nothing, long ones by their hash."""
    if value is None or isinstance(value, (str, bytes)):
        key = value
    elif inspect.isawaitable(value):
        if inspect.iscoroutine(value):
            value.close()
        raise TypeError("PINROUTE_KEY has to be a plain function, not async")
    else:
        key = str(value)
    if not key:
        return None
    raw = key.encode("utf-8", "surrogatepass") if isinstance(key, str) else key
    return raw if len(raw) <= pinroute.KEY_MAX else b"h:" + hashlib.sha256(raw).hexdigest().encode()


class Identity:
    """The keys of one request, the best one last.  Shared by the request's threads: `keys` is replaced, never changed.

    settled    the key is final: nobody has to look again before the end of the request
    in_doubt   the key could not be told: the site's function failed
    refused    it failed since its own read was refused
    asker      the thread that looks at this moment, or None
    """

    __slots__ = ("_http", "_function", "_answered", "keys", "settled", "in_doubt", "refused", "asker")

    def __init__(self, http, function=None, key=None):
        self._http = http
        self._function = function
        self._answered = function is None  # else it is asked at each read, until it knows
        self.keys = []
        self.settled = http is None
        self.in_doubt = self.refused = False
        self.asker = None
        self._add(as_key(key))
        if http is not None and function is None:
            self._add(as_key(_session_key(http)))

    def _add(self, key):
        if key is not None and key != self.key:
            self.keys = [*(k for k in self.keys if k != key), key]

    @property
    def key(self):
        """The best key by now, or None."""
        keys = self.keys
        return keys[-1] if keys else None

    def look(self):
        """Looks at what the application has found out meanwhile.  A function's key is not final: it may have fallen
        back to the session, of which the user is not yet known."""
        if self._http is None or self.asker:
            return
        key = self._ask()
        self._answered = not self.in_doubt and (key is not None or self._function is None)
        self.settled = key is not None and self._function is None
        self._add(key)

    def signs(self):
        """What shows at a glance that look() may find more, as
        (the request's attributes, how many, one of them, its value, attributes of a user that nobody has looked at).
        Attributes come along with a user, `user` is replaced by one, `_wrapped` is filled when somebody looks at it.
        As many as -1: look at once."""
        if self._http is None:
            return {}, 0, None, None, _NOT_LAZY
        about, lazy = self._http.__dict__, _NOT_LAZY
        probe = "user" if "user" in about else next(iter(about), None)
        user = about.get(probe)
        if isinstance(user, LazyObject) and user._wrapped is empty:
            lazy = object.__getattribute__(user, "__dict__")
        return about, len(about) if self._answered else -1, probe, user, lazy

    def _ask(self):
        failed_before, self.in_doubt, self.refused = self.in_doubt, False, False
        self.asker = get_ident()
        try:
            return as_key((self._function or _user_key)(self._http))
        except Exception as e:
            self.refused = isinstance(e, pinroute.NoReplica)
            if not failed_before and not self.refused:
                log.exception("%s failed: reads of this request go to the primary",
                              "PINROUTE_KEY" if self._function else "request.user")
            self.in_doubt = True
            return None
        finally:
            self.asker = None

    def all(self, response=None):
        """Every key by which the client may come back, as of now; one made at random when there is none."""
        if self._http is not None:
            self.look()
            if self._function is None:  # a session's new key is one more, not a better one than the user
                later = [as_key(key) for key in _later_session_keys(self._http, response)]
                self.keys = [*(key for key in later if key not in self.keys), *self.keys]
        if not self.keys:
            self.keys = [b"a:" + secrets.token_urlsafe(18).encode()]
        return self.keys
