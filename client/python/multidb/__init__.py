"""__init__.py -- the names of django-multidb-router 0.6 to 0.11, over pinroute.django: an unchanged site works.

With pinrouted running, workers share health, turns and pins; without, reads rotate through REPLICA_DATABASES.
help(pinroute.django) tells what there is beyond the old names.
"""
import warnings

from pinroute.django import (
    DEFAULT_DB_ALIAS, MasterSlaveRouter, PinningMasterSlaveRouter, PinningReplicaRouter, ReplicaRouter, db_write,
    get_replica, this_thread_is_pinned,
)

__all__ = [
    "DEFAULT_DB_ALIAS", "ReplicaRouter", "PinningReplicaRouter", "MasterSlaveRouter", "PinningMasterSlaveRouter",
    "get_replica", "get_slave", "db_write", "this_thread_is_pinned", "VERSION", "__version__",
]
VERSION = (0, 11, 0)
__version__ = ".".join(map(str, VERSION))


def get_slave():
    """The old name of get_replica()."""
    warnings.warn("get_slave() is deprecated: use get_replica().", DeprecationWarning, stacklevel=2)
    return get_replica()
