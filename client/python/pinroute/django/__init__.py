"""__init__.py -- Django reads from replicas, and everybody sees what they have just written.

Django in five lines, with pinrouted running:

    DATABASES = {"default": {...}, "shadow-1": {...}, "shadow-2": {...}}    # the names of the nodes in pinrouted.ini
    DATABASE_ROUTERS = ["pinroute.django.PinningReplicaRouter"]
    MIDDLEWARE = ["pinroute.django.PinningRouterMiddleware", ...]           # before all that writes
    PINROUTE_DIR = "/run/pinroute"
    PINROUTE_CLUSTER = "main"

Reads go to replicas in turn, those that are down or lag left out, by the same turn for all workers of the host.  From a
write on, reads of the user who made it go to the primary until a replica has it.  A write is a request with an unsafe
method, a @db_write view, or anything that the ORM writes; it is recorded when its transaction commits and again before
the response leaves, whatever the view returned or raised.  Users are known by their id once request.user was looked at,
else by their session, else by a signed token in a cookie (and in a header: PINROUTE_TOKEN_HEADER); PINROUTE_KEY is a
function of yours instead.

    use_primary_db          context manager, decorator: these reads go to the primary
    db_write                decorator: this view writes
    mark_written()          this request has written, by raw SQL
    request_scope(...)      a job is a request, too; token() is for its payload
    get_replica()           an alias, for connections[...]; with within_ms=..., of one that is at most so far behind

Reads go to the primary while a transaction is open there, and whenever pinrouted or its store cannot be used.  Where
pinrouted.ini says no_replica = error, or a primary_budget is used up, those that no promise sends there raise
NoReplica, an OperationalError, as of a database that is not there.

Without any PINROUTE_* setting and without pinrouted, reads rotate through REPLICA_DATABASES as django-multidb-router
does it.

`pinroute.django` in INSTALLED_APPS is optional: it has the settings checked at start.  In `manage.py shell`,
help(pinroute.django.conf) lists them.
"""
import warnings

from .conf import DEFAULT_DB_ALIAS
from .identity import default_key
from .middleware import READ_ONLY_METHODS, PinningRouterMiddleware
from .pinning import (
    db_write, mark_as_write, mark_written, pin_this_thread, request_scope, this_thread_is_pinned, token,
    unpin_this_thread, use_master, use_primary_db,
)
from .routers import MasterSlaveRouter, PinningMasterSlaveRouter, PinningReplicaRouter, ReplicaRouter, get_replica
from .served import NoReplica

__all__ = [
    "DEFAULT_DB_ALIAS", "READ_ONLY_METHODS", "ReplicaRouter", "PinningReplicaRouter", "MasterSlaveRouter",
    "PinningMasterSlaveRouter", "PinningRouterMiddleware", "get_replica", "get_slave", "use_primary_db", "use_master",
    "db_write", "mark_as_write", "mark_written", "pin_this_thread", "unpin_this_thread", "this_thread_is_pinned",
    "request_scope", "token", "default_key", "NoReplica",
]


def get_slave():
    """The old name of get_replica()."""
    warnings.warn("get_slave() is deprecated: use get_replica().", DeprecationWarning, stacklevel=2)
    return get_replica()
