"""conf.py -- settings: what this site has said about pinroute, checked, with the seed's defaults.

| setting                       | default            | meaning                                                        |
|-------------------------------|--------------------|----------------------------------------------------------------|
| REPLICA_DATABASES             | ()                 | aliases of replicas; the old name is SLAVE_DATABASES           |
| MULTIDB_PINNING_SECONDS       | the cluster's, 15  | longest that a writer reads from the primary                   |
| MULTIDB_PINNING_COOKIE        | multidb_pin_writes | the cookie's name; also _HTTPONLY, _SAMESITE, _SECURE          |
| PINROUTE_DIR                  | /run/pinroute      | pinrouted's directory; also $PINROUTE_DIR                      |
| PINROUTE_CLUSTER              | main               | the cluster's name in pinrouted.ini                            |
| PINROUTE_CLUSTERS             | that one           | several: {"main": {"primary": "default", "replicas": [...]},   |
|                               |                    | "reports": {"primary": "reports", "apps": ["reports"]}}        |
| PINROUTE_KEY                  | default_key        | function, or its dotted path: request -> str, bytes or None    |
| PINROUTE_HOLD_SECONDS         | 0, off             | before a write, its user's reads go to the primary for so long |
| PINROUTE_TIMEOUT_MS           | 50                 | longest that one message to pinrouted may take                 |
| PINROUTE_TOKEN_HEADER         | None               | a header that carries the token beside the cookie              |
"""
import difflib
import os
import re

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from .groups import Group, Groups

_COOKIE_NAME = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII).fullmatch
DEFAULT_DB_ALIAS = "default"
DEFAULT_STORE = "/run/pinroute/data.mdb"
DEFAULT_SECONDS = 15
MOST_SECONDS = 10 ** 9
SAME_SITES = ("lax", "strict", "none")
NAMES = ("PINROUTE_DIR", "PINROUTE_CLUSTER", "PINROUTE_CLUSTERS", "PINROUTE_KEY", "PINROUTE_HOLD_SECONDS",
         "PINROUTE_TIMEOUT_MS", "PINROUTE_TOKEN_HEADER")


def pinning_cookie():
    """The name of the cookie by which a browser that has just written is known."""
    return getattr(settings, "MULTIDB_PINNING_COOKIE", "multidb_pin_writes")


def pinning_seconds():
    """For how many seconds after a write its user reads from the primary, at most."""
    given = getattr(settings, "MULTIDB_PINNING_SECONDS", DEFAULT_SECONDS)
    try:
        seconds = int(given)
    except (TypeError, ValueError, OverflowError):
        seconds = -1
    if not 0 <= seconds <= MOST_SECONDS:
        raise ImproperlyConfigured(f"MULTIDB_PINNING_SECONDS is {given!r}: give a number of seconds, "
                                   f"such as {DEFAULT_SECONDS}.")
    return seconds


def pin_seconds_to_record():
    """MULTIDB_PINNING_SECONDS where the site sets it, else 0: the cluster's own pin_seconds."""
    return max(1, pinning_seconds()) if hasattr(settings, "MULTIDB_PINNING_SECONDS") else 0


def pinning_cookie_httponly():
    """May scripts not read the cookie?"""
    return getattr(settings, "MULTIDB_PINNING_COOKIE_HTTPONLY", False)


def pinning_cookie_samesite():
    """The cookie's SameSite attribute."""
    return getattr(settings, "MULTIDB_PINNING_COOKIE_SAMESITE", "Lax")


def pinning_cookie_secure():
    """Does the cookie travel over https only?"""
    return getattr(settings, "MULTIDB_PINNING_COOKIE_SECURE", False)


class Conf:
    """All settings that need a check, as of one moment."""

    def __init__(self):
        self._refuse_unknown()
        self._check_cookie()
        self.configured = bool(_names_set() or os.environ.get("PINROUTE_DIR"))
        self.old_name = not hasattr(settings, "REPLICA_DATABASES") and hasattr(settings, "SLAVE_DATABASES")
        self.replicas = self._replicas()
        self.dir = self._directory()
        self.groups = self._groups()
        self.key = self._key()
        self.hold_ms = self._hold_ms()
        self.timeout_ms = self._timeout_ms()
        self.token_header = self._token_header()
        self._mirror()

    @staticmethod
    def _refuse_unknown():
        for name in _names_set():
            if name not in NAMES:
                close = difflib.get_close_matches(name, NAMES, 1)
                mend = f"did you mean {close[0]}?" if close else f"there are {', '.join(NAMES)}."
                raise ImproperlyConfigured(f"{name} is no setting of pinroute: {mend}")

    @staticmethod
    def _check_cookie():
        """Now, not when a view has committed."""
        pinning_seconds()
        name, same_site = pinning_cookie(), pinning_cookie_samesite()
        if not isinstance(name, str) or not _COOKIE_NAME(name):
            raise ImproperlyConfigured(f"MULTIDB_PINNING_COOKIE is {name!r}: give a cookie's name, such as "
                                       "'multidb_pin_writes'.")
        if same_site and (not isinstance(same_site, str) or same_site.lower() not in SAME_SITES):
            raise ImproperlyConfigured(f"MULTIDB_PINNING_COOKIE_SAMESITE is {same_site!r}: give 'Lax', 'Strict' or "
                                       "'None'.")

    @staticmethod
    def _replicas():
        name = "REPLICA_DATABASES" if hasattr(settings, "REPLICA_DATABASES") else "SLAVE_DATABASES"
        return _aliases(name, getattr(settings, name, None) or ())

    @staticmethod
    def _directory():
        directory = getattr(settings, "PINROUTE_DIR", None)
        if directory is not None and not isinstance(directory, (str, os.PathLike)):
            raise ImproperlyConfigured(f"PINROUTE_DIR is {directory!r}: give pinrouted's directory, such as "
                                       "'/run/pinroute'.")
        return directory

    def _groups(self):
        clusters = getattr(settings, "PINROUTE_CLUSTERS", None)
        if not clusters:
            name = _cluster_name("PINROUTE_CLUSTER", getattr(settings, "PINROUTE_CLUSTER", None) or "main")
            listed = self.replicas or [a for a in settings.DATABASES if a != DEFAULT_DB_ALIAS]
            return Groups([Group(name, DEFAULT_DB_ALIAS, listed)])
        if not isinstance(clusters, dict):
            raise ImproperlyConfigured("PINROUTE_CLUSTERS: give a dict, such as "
                                       "{'main': {'primary': 'default', 'replicas': ['shadow-1']}}.")
        groups = [_group(name, given) for name, given in clusters.items()]
        _refuse_shared(groups)
        return Groups(groups)

    @staticmethod
    def _key():
        key = getattr(settings, "PINROUTE_KEY", None)
        if isinstance(key, str):
            try:
                key = import_string(key)
            except ImportError as e:
                raise ImproperlyConfigured(f"PINROUTE_KEY: {e}: give the dotted path of a function.") from e
        if key is not None and not callable(key):
            raise ImproperlyConfigured(f"PINROUTE_KEY is {key!r}: give a function of the request, or its dotted path.")
        return key

    @staticmethod
    def _hold_ms():
        seconds = getattr(settings, "PINROUTE_HOLD_SECONDS", 0) or 0
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or seconds < 0:
            raise ImproperlyConfigured(f"PINROUTE_HOLD_SECONDS is {seconds!r}: give a number of seconds, 0 for none.")
        return int(seconds * 1000)

    @staticmethod
    def _timeout_ms():
        ms = getattr(settings, "PINROUTE_TIMEOUT_MS", None)
        if ms is not None and (isinstance(ms, bool) or not isinstance(ms, int) or not 1 <= ms <= 60000):
            raise ImproperlyConfigured(f"PINROUTE_TIMEOUT_MS is {ms!r}: give 1 to 60000 milliseconds.")
        return ms

    @staticmethod
    def _token_header():
        name = getattr(settings, "PINROUTE_TOKEN_HEADER", None)
        if name is not None and not (isinstance(name, str) and name.replace("-", "").isalnum()):
            raise ImproperlyConfigured(f"PINROUTE_TOKEN_HEADER is {name!r}: give a header's name, such as "
                                       "'X-Pinroute-Token'.")
        return name

    def _mirror(self):
        """Tests write to the primary's test database alone: replicas are that database, too."""
        mirrors = {a: g.primary for g in self.groups if g.listed for a in g.replicas}
        mirrors.update((a, DEFAULT_DB_ALIAS) for a in self.replicas if a not in mirrors)
        for alias, primary in mirrors.items():
            if alias != primary:
                test = settings.DATABASES[alias].setdefault("TEST", {})
                if not test.get("MIRROR"):
                    test["MIRROR"] = primary


def _names_set():
    return [name for name in dir(settings) if name.startswith("PINROUTE_")]


def _aliases(setting, aliases):
    if isinstance(aliases, str) or not hasattr(aliases, "__iter__"):
        raise ImproperlyConfigured(f"{setting} is {aliases!r}: give a list of aliases, such as ['shadow-1'].")
    aliases = list(aliases)
    for alias in aliases:
        if alias not in settings.DATABASES:
            raise ImproperlyConfigured(f"{setting} names {alias!r}, which is not in DATABASES: add it there, "
                                       f"or take it out of {setting}.")
    return aliases


def _cluster_name(setting, name):
    if not isinstance(name, str) or not 1 <= len(name) <= 63 or not name.isascii() \
            or not name.translate({ord(c): None for c in "_.-"}).isalnum():
        raise ImproperlyConfigured(f"{setting}: {name!r} is no cluster's name: 1 to 63 of A-Z a-z 0-9 _ . -, "
                                   "as in [cluster NAME] of pinrouted.ini.")
    return name


def _group(name, given):
    where = f"PINROUTE_CLUSTERS[{name!r}]"
    _cluster_name("PINROUTE_CLUSTERS", name)
    if not isinstance(given, dict) or set(given) - {"primary", "replicas", "apps"}:
        raise ImproperlyConfigured(f"{where}: give a dict of 'primary', 'replicas' and 'apps'.")
    primary = given.get("primary", DEFAULT_DB_ALIAS)
    _aliases(f"{where}['primary']", [primary])
    apps = given.get("apps", ())
    if isinstance(apps, str) or not all(isinstance(a, str) for a in apps):
        raise ImproperlyConfigured(f"{where}['apps']: give a list of app labels, or app.Model.")
    return Group(name, primary, _aliases(f"{where}['replicas']", given.get("replicas", ())), apps, listed=True)


def _refuse_shared(groups):
    owner = {}
    for group in groups:
        for alias in {group.primary, *group.replicas}:
            if alias in owner:
                raise ImproperlyConfigured(f"PINROUTE_CLUSTERS: {alias!r} is in {owner[alias]!r} and in "
                                           f"{group.name!r}: an alias belongs to one cluster.")
            owner[alias] = group.name


_conf = None


def conf():
    """The settings, checked once; read again after a test has overridden one."""
    global _conf
    if _conf is None:
        _conf = Conf()
    return _conf


def forget(*, setting=None, **_):
    """A setting has changed: all that was derived from settings is made anew when it is next needed."""
    global _conf
    if setting is None or setting == "DATABASES" or setting in ("REPLICA_DATABASES", "SLAVE_DATABASES") \
            or setting.startswith("PINROUTE_"):
        _conf = None


setting_changed.connect(forget, dispatch_uid="pinroute.django.conf")
