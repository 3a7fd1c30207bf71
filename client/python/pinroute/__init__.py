"""__init__.py -- which PostgreSQL server should this process's next read go to?

    router = pinroute.Router()                    # once per process, before or after a fork
    main = router.cluster("main")

    with router.scope(main, user_id) as scope:    # one request
        connection = connections[scope.node()]    # '': unknown, use your primary
        ...
        scope.wrote()                             # recorded at the end of the block: be behind COMMIT by then

A read that may be at most so far behind gives a bound: router.node_for_read(main, key, within_ms=2000), or
scope.read(within_ms=2000).node; the primary answers it where no replica is known to be so recent.

Where the daemon's config has reads fail when there is no replica (no_replica = error, primary_budget), calls that
return a name raise NoReplica; those that return a Decision have `refused` in it, beside the primary's name.

A guest in the process: it never logs, starts no thread, and raises nothing else but for wrong arguments.  Whatever is
wrong with the daemon or its store, the answer is the primary.  Calls that may wait for the daemon (record_write,
record_writes, hold, Scope.end and Scope.accept) let other threads run, and end by the router's timeout.

What belongs to the work at hand rather than to an object (current_scope(), use_primary()) is kept in contextvars:
threads, tasks and greenlets never see each other's.
"""
import collections.abc
import contextlib
import contextvars
import functools
import inspect
import types
import typing

from ._pinroute import (
    AFFINITY, BALANCED, BEHIND, CAUGHT_UP, E_CLUSTER, E_INVALID, E_MEMORY, E_NODE, E_NO_REPLICA, E_REFUSED, E_STORE,
    E_TOKEN_EXPIRED, E_TOKEN_FOREIGN, E_TOKEN_FORGED, E_UNREACHABLE, FLOOR, FORCED, KEY_MAX, NO_REPLICA, OK,
    OVER_BUDGET, PINNED, PRIMARY, REPLICA, STORE_STALE, STORE_UNAVAILABLE, WRITE, Decision, NoReplica, Router, Scope,
    http_method_writes, reason_name, strerror, version,
)

__all__ = [
    "Router", "Scope", "Decision", "NoReplica", "current_scope", "scope_context", "use_primary", "is_forced",
    "strerror", "reason_name", "version", "http_method_writes", "KEY_MAX",
    "OK", "E_INVALID", "E_CLUSTER", "E_NODE", "E_STORE", "E_UNREACHABLE", "E_REFUSED", "E_NO_REPLICA",
    "E_TOKEN_FORGED", "E_TOKEN_EXPIRED", "E_TOKEN_FOREIGN", "E_MEMORY", "PRIMARY", "REPLICA",
    "BALANCED", "PINNED", "CAUGHT_UP", "FORCED", "NO_REPLICA", "FLOOR", "STORE_STALE", "STORE_UNAVAILABLE", "WRITE",
    "AFFINITY", "BEHIND", "OVER_BUDGET",
]
__version__ = version()

_Function = typing.TypeVar("_Function", bound=typing.Callable[..., typing.Any])

_scope: contextvars.ContextVar[Scope | None] = contextvars.ContextVar("pinroute.scope", default=None)

# The blocks of use_primary() that this context is in.  Which ones, not how many: a coroutine that is given up may be
# closed from another context, and must not end a block of that one's.
_forced: contextvars.ContextVar[tuple] = contextvars.ContextVar("pinroute.forced", default=())


def current_scope() -> Scope | None:
    """Return the scope of the innermost scope_context() that this context is in, or None."""
    return _scope.get()


@contextlib.contextmanager
def scope_context(scope: Scope | None) -> typing.Iterator[Scope | None]:
    """Make the scope the current one for the block; None: no scope is current.  It is not ended."""
    token = _scope.set(scope)
    try:
        yield scope
    finally:
        with contextlib.suppress(ValueError):  # closed from another context, which has a scope of its own
            _scope.reset(token)


def is_forced() -> bool:
    """Is this context inside of use_primary()?  Who routes asks this first: a Scope does not know of it."""
    return bool(_forced.get())


class use_primary:
    """Send the reads of this context to the primary: for a block, or while what it decorates runs.

        with use_primary():
            ...

        @use_primary()
        async def view(request):
            ...

    Decorates functions, methods, coroutine functions, generators and async generators: those last two are forced
    while they run, and not while they wait for whoever consumes them.  Blocks nest to any depth, and leaving one
    restores what was there before, also by an exception.  An instance holds nothing: it may be used again, inside
    of itself and by several threads and tasks at once.
    """

    __slots__ = ()

    def __enter__(self) -> typing.Self:
        _forced.set(_forced.get() + (self,))
        return self

    def __exit__(self, *exception: object) -> None:
        blocks = _forced.get()
        if self in blocks:
            at = blocks.index(self)
            _forced.set(blocks[:at] + blocks[at + 1:])

    def __call__(self, function: _Function) -> _Function:
        if isinstance(function, (classmethod, staticmethod)):
            return type(function)(self(function.__func__))
        if inspect.isasyncgenfunction(function):
            return _forced_async_generator(function)
        if inspect.isgeneratorfunction(function):
            return _forced_generator(function)
        if inspect.iscoroutinefunction(function):
            return _forced_coroutine(function)
        return _forced_function(function)


def _forced_function(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        with use_primary():
            result = function(*args, **kwargs)
        # a plain function that returns its coroutine, as the view function of a class does
        return _await_forced(result) if isinstance(result, types.CoroutineType) else result
    return wrapper


async def _await_forced(coroutine):
    with use_primary():
        return await coroutine


def _forced_coroutine(function):
    @functools.wraps(function)
    async def wrapper(*args, **kwargs):
        with use_primary():
            return await function(*args, **kwargs)
    return wrapper


class _Steps(collections.abc.Generator):
    """A generator each step of which is forced."""

    __slots__ = ("generator",)

    def __init__(self, generator):
        self.generator = generator

    def send(self, value):
        with use_primary():
            return self.generator.send(value)

    def throw(self, *exception):
        with use_primary():
            return self.generator.throw(*exception)

    def close(self):
        with use_primary():
            self.generator.close()


def _forced_generator(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return (yield from _Steps(function(*args, **kwargs)))
    return wrapper


async def _forced_step(step, value):
    with use_primary():
        return await step(value)


def _forced_async_generator(function):
    @functools.wraps(function)
    async def wrapper(*args, **kwargs):
        generator = function(*args, **kwargs)
        step, value = generator.asend, None
        try:
            while True:
                try:
                    item = await _forced_step(step, value)
                except StopAsyncIteration:
                    return
                try:
                    step, value = generator.asend, (yield item)
                except GeneratorExit:
                    raise
                except BaseException as thrown:
                    step, value = generator.athrow, thrown
        finally:
            with use_primary():
                await generator.aclose()
    return wrapper
