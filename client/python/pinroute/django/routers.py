"""routers.py -- what goes into DATABASE_ROUTERS."""
import warnings

from django.utils.functional import empty

import pinroute

from . import state
from .conf import conf
from .site import site

_current = state.current
_forced = pinroute._forced.get
_here = state.here


def get_replica(within_ms=None):
    """The alias of a replica that may be read from now, the next one in turn; the primary's when there is none,
    or NoReplica where the config has such reads fail.

    within_ms   it may be at most so far behind: `Note.objects.using(get_replica(within_ms=5000))`"""
    return site().get_replica(within_ms)


class ReplicaRouter:
    """Sends reads to replicas in turn and writes to the primary.  Who has just written may not see it."""

    def __init__(self):
        conf()  # so that a wrong setting is known at start

    def db_for_read(self, model, **hints):
        return site().read_plain(model)

    def db_for_write(self, model, **hints):
        return site().write_plain(model)

    def allow_relation(self, obj1, obj2, **hints):
        """All of them: an alias is no more than a way to the same rows."""
        return True

    def allow_migrate(self, db, app_label, model_name=None, **hints):
        """Primaries only; None: an alias of which pinroute was told nothing."""
        return site().allow_migrate(db, app_label, model_name)

    def allow_syncdb(self, db, model):
        """allow_migrate's name in Django before 1.7."""
        meta = getattr(model, "_meta", None)
        return site().allow_migrate(db, getattr(meta, "app_label", ""), getattr(meta, "model_name", None))


class PinningReplicaRouter(ReplicaRouter):
    """Sends reads to replicas, but reads of who has written to the primary until a replica has that write.
    Needs PinningRouterMiddleware to know one request from the next."""

    def db_for_read(self, model, **hints):
        """The path of every query: what would be a call in request.py is written out."""
        request = _current()
        if request is None:
            return site().read(model)
        part = request.only or request.part(model)
        if part.pinned or _forced():
            return part.primary
        thread, wrapper = part.seat
        if thread is not _here.thread:
            if request.over:
                return request.read_after(part)
            wrapper = part.connection()
        if wrapper.in_atomic_block or (not wrapper.autocommit and wrapper.connection is not None):
            return part.primary
        if not request.known:
            about = request.about
            if (len(about) != request.count or about.get(request.probe) is not request.probed
                    or request.lazy["_wrapped"] is not empty) and request.look():
                return request.in_doubt(part)
        return part.nodes[part.node()]

    def db_for_write(self, model, **hints):
        request = _current()
        return site().write(model) if request is None else request.write(model)


class _OldName:
    def __init__(self, *args, **kwargs):
        new = type(self).__mro__[2].__name__
        warnings.warn(f"{type(self).__name__} is deprecated: use {new}.", DeprecationWarning, stacklevel=2)
        super().__init__(*args, **kwargs)


class MasterSlaveRouter(_OldName, ReplicaRouter):
    """The old name of ReplicaRouter."""


class PinningMasterSlaveRouter(_OldName, PinningReplicaRouter):
    """The old name of PinningReplicaRouter."""
