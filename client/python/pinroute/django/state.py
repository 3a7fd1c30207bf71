"""state.py -- what the running code is in: a request, or none; and outside of requests, until when it is pinned.
Kept in contextvars, so that threads, tasks and greenlets never see each other's."""
import threading
import time
from contextvars import ContextVar

_request = ContextVar("pinroute.django.request", default=None)
_pinned_until = ContextVar("pinroute.django.pinned_until", default=0.0)

current = _request.get  # the request, which may be over when this task has outlived it
enter = _request.set


class _Here(threading.local):
    """`thread` is this thread's own: unlike its number, it is never that of a later one."""

    def __init__(self):
        self.thread = object()


here = _Here()


def live():
    """The request that this code is part of, or None."""
    request = _request.get()
    return None if request is None or request.over else request


def pin_context(seconds):
    """Outside of requests: reads of this context go to the primary for so long."""
    _pinned_until.set(time.monotonic() + seconds)


def unpin_context():
    if _pinned_until.get():
        _pinned_until.set(0.0)


def context_is_pinned():
    until = _pinned_until.get()
    return until > 0.0 and time.monotonic() < until
