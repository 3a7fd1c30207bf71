"""seed.py -- routing without pinroute: what django-multidb-router does with REPLICA_DATABASES.
Its faults stayed behind: workers that were forked after the application was loaded start at places of their own."""
import itertools
import os
import random
import warnings

import pinroute

from . import state
from .conf import DEFAULT_DB_ALIAS, pinning_seconds

UNSIGNED = "y"
_forced = pinroute._forced.get
_told = False


class Rotation:
    """Aliases, one after the other; each process begins at a place of its own."""

    def __init__(self, aliases):
        self._aliases = list(aliases)
        self._pid = 0
        self._turns = None

    def turns(self):
        """This process's endless iterator."""
        if self._pid != os.getpid():
            order = random.SystemRandom().sample(self._aliases, len(self._aliases))
            self._turns = itertools.cycle(order)
            self._pid = os.getpid()
        return self._turns


class _NoTransaction:
    """In place of a connection: the seed does not ask whether a transaction is open."""

    in_atomic_block = False
    autocommit = True


class SeedRequest:
    """One request: pinned by its method or its cookie.  To routers.py it is a ServedRequest and its part in one."""

    __slots__ = ("pinned", "wrote", "over", "known", "primary", "seat", "node", "nodes")

    def __init__(self, site, pinned, wrote=False):
        self.pinned = pinned
        self.wrote = wrote
        self.over = False
        self.known = True
        self.primary = DEFAULT_DB_ALIAS
        self.seat = (None, None)
        self.node = site.turns().__next__
        self.nodes = site.nodes

    only = None

    def part(self, model):
        return self

    def connection(self):
        self.seat = (state.here.thread, _NoTransaction)
        return _NoTransaction

    def read_after(self, part):
        """A read of a task or thread that has outlived the request: as if outside."""
        return DEFAULT_DB_ALIAS if state.context_is_pinned() else self.node()

    def write(self, model):
        return DEFAULT_DB_ALIAS

    def pin(self):
        self.pinned = True

    def unpin(self):
        self.pinned = False

    def decide_anew(self):
        """It does so for each read."""

    def is_pinned(self):
        return self.pinned

    def is_going_to_write(self):
        """The method says nothing, but the view is known to write."""

    def mark_written(self, cluster=None):
        self.wrote = True

    def token(self):
        return UNSIGNED if self.pinned or self.wrote else None

    def may_wait(self, response=None):
        return False

    def finish(self, response):
        """What the browser is to remember: the cookie's value, or None."""
        return UNSIGNED if self.wrote or getattr(response, "_db_write", False) else None

    def abandon(self):
        """Nothing of a request that ended without a response is kept."""

    def end(self):
        self.over = True
        self.pinned = False
        self.seat = (None, None)


def _warn(text, category):
    warnings.warn(text, category, stacklevel=4)


class SeedSite:
    """This process's routing, from REPLICA_DATABASES alone."""

    cookie_seconds = staticmethod(lambda request: pinning_seconds())

    def __init__(self, conf):
        self.conf = conf
        aliases = conf.replicas or [DEFAULT_DB_ALIAS]
        self.nodes = {alias: alias for alias in aliases}
        self._rotation = Rotation(aliases)
        self._warned = False

    def turns(self):
        if not self._warned:
            self._warned = True
            self._warn()
        return self._rotation.turns()

    def _warn(self):
        global _told
        if self.conf.old_name:
            _warn("SLAVE_DATABASES is deprecated: name the setting REPLICA_DATABASES.", DeprecationWarning)
        how = "Set PINROUTE_DIR, or start pinrouted, to share health, turns and pins among workers"
        if not self.conf.replicas:
            _warn("No replica databases: REPLICA_DATABASES is missing or empty, and pinroute is not used, so all reads "
                  f"go to {DEFAULT_DB_ALIAS!r}. List the replicas' aliases there. {how}.", UserWarning)
        elif not _told:
            _warn("pinroute is not used: there is no PINROUTE_* setting and no store in /run/pinroute, so reads rotate "
                  f"through REPLICA_DATABASES. {how}.", UserWarning)
        _told = True

    def get_replica(self, within_ms=None):
        """Nobody here knows how far behind a replica is."""
        return next(self.turns()) if within_ms is None else DEFAULT_DB_ALIAS

    def read(self, model):
        """A read outside of any request."""
        if _forced() or state.context_is_pinned():
            return DEFAULT_DB_ALIAS
        return next(self.turns())

    def read_plain(self, model):
        return next(self.turns())

    def write(self, model):
        """A write outside of any request: prolongs a pin, and begins none."""
        if state.context_is_pinned():
            state.pin_context(pinning_seconds())
        return DEFAULT_DB_ALIAS

    def write_plain(self, model):
        return DEFAULT_DB_ALIAS

    def allow_migrate(self, alias, app_label, model_name=None):
        return alias == DEFAULT_DB_ALIAS

    def begin(self, http, carried, unsafe):
        """A request whose client brought `carried`."""
        return SeedRequest(self, pinned=unsafe or bool(carried), wrote=unsafe)

    def begin_job(self, key, tokens, cluster):
        return SeedRequest(self, pinned=bool(tokens))
