"""pinning.py -- multidb.pinning: the calls of views."""
from pinroute.django.pinning import (
    db_write, mark_as_write, pin_this_thread, this_thread_is_pinned, unpin_this_thread, use_master, use_primary_db,
)

__all__ = ["this_thread_is_pinned", "pin_this_thread", "unpin_this_thread", "use_primary_db", "use_master",
           "mark_as_write", "db_write"]
