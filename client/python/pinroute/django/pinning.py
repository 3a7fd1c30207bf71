"""pinning.py -- what views and jobs say: this reads from the primary, this has written.

    with use_primary_db:                # or as a decorator, of functions, coroutines and generators
        ...

    @db_write                           # a view that writes, whatever its method
    def view(request): ...

    with request_scope(key=f"u:{user.pk}", token=payload["token"]):     # a job
        ...
"""
import contextlib
import functools
import inspect
import types
import warnings

import pinroute

from . import state
from .conf import pinning_seconds
from .site import site


def this_thread_is_pinned():
    """Do all reads of this request (outside of requests: of this thread or task) go to the primary by now?"""
    if pinroute.is_forced():
        return True
    request = state.live()
    return state.context_is_pinned() if request is None else request.is_pinned()


def pin_this_thread():
    """Sends reads to the primary, to the end of this request; outside of requests for MULTIDB_PINNING_SECONDS.

    The name is the seed's.  It is this thread, task or greenlet; in a request, all that belong to it."""
    request = state.live()
    if request is None:
        state.pin_context(pinning_seconds())
    else:
        request.pin()


def unpin_this_thread():
    """Ends pin_this_thread(), and what a write of this request does to its own reads.  Does not undo use_primary_db."""
    request = state.live()
    if request is None:
        state.unpin_context()
    else:
        request.unpin()


class UsePrimaryDB(pinroute.use_primary):
    """Sends reads to the primary: context manager and decorator, without parentheses or with.

    It nests to any depth, and leaving restores what was there before, also by an exception.  Threads and tasks
    never see each other's.  Generators are forced while they run, not while they wait for their consumer."""

    __slots__ = ()

    def __call__(self, function=None):
        return self if function is None else super().__call__(function)


class UseMaster(UsePrimaryDB):
    """The old name: warns once for each use."""

    __slots__ = ()

    def __enter__(self):
        self._warn()
        return super().__enter__()

    def __call__(self, function=None):
        return self if function is None else _warning_first(use_primary_db(function), self._warn)

    @staticmethod
    def _warn():
        warnings.warn("use_master is deprecated: use use_primary_db.", DeprecationWarning, stacklevel=3)


def _warning_first(function, warn):
    if isinstance(function, (classmethod, staticmethod)):
        return type(function)(_warning_first(function.__func__, warn))
    if inspect.iscoroutinefunction(function):
        @functools.wraps(function)
        async def wrapper(*args, **kwargs):
            warn()
            return await function(*args, **kwargs)
    else:
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            warn()
            return function(*args, **kwargs)
    return wrapper


use_primary_db = UsePrimaryDB()
use_master = UseMaster()


def mark_as_write(response):
    """Marks a response as one that has written: its client's next requests read from the primary.  Returns it."""
    with contextlib.suppress(AttributeError):  # None and the like: db_write has told the request already
        response._db_write = True
    return response


def mark_written(cluster=None):
    """Says that this request has written in a way that no router sees, such as raw SQL in a GET.

    cluster   which of several clusters; None: any of them.  Outside of requests this context reads from the primary for
              MULTIDB_PINNING_SECONDS."""
    request = state.live()
    if request is not None:
        request.mark_written(cluster)
    else:
        state.pin_context(pinning_seconds())


@contextlib.contextmanager
def _writing():
    request = state.live()
    if request is not None:
        request.is_going_to_write()
    try:
        with use_primary_db:
            yield
    finally:
        if request is not None and not request.over:
            request.mark_written()


def db_write(view):
    """Decorates a view, sync or async, that writes whatever its method: it reads from the primary, and its client's
    next requests do.  The view may return anything, also None, and may raise: what it has committed counts."""
    if inspect.iscoroutinefunction(view):
        @functools.wraps(view)
        async def wrapper(*args, **kwargs):
            with _writing():
                return mark_as_write(await view(*args, **kwargs))
    else:
        @functools.wraps(view)
        def wrapper(*args, **kwargs):
            with _writing():
                response = view(*args, **kwargs)
            return _written(response) if isinstance(response, types.CoroutineType) else mark_as_write(response)
    return wrapper


async def _written(coroutine):
    with _writing():
        return mark_as_write(await coroutine)


@contextlib.contextmanager
def request_scope(key=None, token=None, cluster=None):
    """A request without HTTP: a Celery task, a command, a consumer.  Reads see what the key has written and what the
    token tells of; what is written is recorded under the key at its commit, and at the end.

        @app.task
        def send_mail(user_pk, token):
            with request_scope(key=f"u:{user_pk}", token=token):
                ...

    key       of the client, as default_key() makes them: "u:" and a user's primary key; None: nobody
    token     what token() gave to whoever queued the job; None, garbage and old ones count for nothing
    cluster   the one that mark_written() and token() are about in this job; None: all of the site's
    """
    routing = site()
    request = routing.begin_job(key, [token] if token else [], cluster)
    before = state.current()
    state.enter(request)
    try:
        yield request
    finally:
        state.enter(before)
        try:
            request.abandon()
        finally:
            request.end()
            if before is not None:
                before.decide_anew()


def token():
    """The current request's token, a short text for a job's payload, or None when there is nothing to carry.

    It tells of what is committed: call it then, as in `transaction.on_commit(lambda: task.delay(token=token()))`."""
    request = state.live()
    return None if request is None else request.token()
