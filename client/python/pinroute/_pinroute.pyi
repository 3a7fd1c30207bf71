"""_pinroute.pyi -- types of the extension; its docstrings are the module's own, word by word."""
import os
from collections.abc import Iterable
from types import TracebackType
from typing import Final, final

_Key = str | bytes | bytearray | memoryview

OK: Final[int]
E_INVALID: Final[int]
E_CLUSTER: Final[int]
E_NODE: Final[int]
E_STORE: Final[int]
E_UNREACHABLE: Final[int]
E_REFUSED: Final[int]
E_NO_REPLICA: Final[int]
E_TOKEN_FORGED: Final[int]
E_TOKEN_EXPIRED: Final[int]
E_TOKEN_FOREIGN: Final[int]
E_MEMORY: Final[int]

PRIMARY: Final[int]
REPLICA: Final[int]

BALANCED: Final[int]
PINNED: Final[int]
CAUGHT_UP: Final[int]
FORCED: Final[int]
NO_REPLICA: Final[int]
FLOOR: Final[int]
STORE_STALE: Final[int]
STORE_UNAVAILABLE: Final[int]
WRITE: Final[int]
AFFINITY: Final[int]
BEHIND: Final[int]
OVER_BUDGET: Final[int]

KEY_MAX: Final[int]

def strerror(status: int, /) -> str:
    """Return the sentence for a status."""

def reason_name(reason: int, /) -> str:
    """Return the name of a reason: 'CAUGHT_UP'."""

def version() -> str:
    """Return the version of libpinroute in this module."""

def http_method_writes(method: str | None, /) -> bool:
    """Does this HTTP method write?  Anything but GET, HEAD, OPTIONS and TRACE does; None writes."""


class NoReplica(Exception):
    """No replica may be read from, and the daemon's config has such reads fail: by no_replica = error or
    primary_budget.  Raised by calls that return a node's name alone.
    """


@final
class Router:
    """A handle on the daemon's directory.  One per process is enough, for all of its threads.

    A router that was opened before a fork serves in every child.  With or without a store and a daemon it
    opens: until there is one, all answers are the primary.

    dir: None: $PINROUTE_DIR, else /run/pinroute.
    timeout_ms: total time of one call that asks the daemon, 1 to 60000; None: 50.
    no_replica: what a read raises that the config refuses: NoReplica or a class derived from it.

    Keys are bytes, or str, which counts as its UTF-8; 1 to 4096 bytes.  Wrong arguments raise TypeError or
    ValueError, a read that the config refuses no_replica; whatever is wrong with store or daemon raises
    nothing.
    """

    def __new__(cls, dir: str | bytes | os.PathLike[str] | os.PathLike[bytes] | None = None, *,
                timeout_ms: int | None = None, no_replica: type[NoReplica] = NoReplica) -> Router: ...

    def cluster(self, name: str, /) -> int:
        """Number a cluster, once, for the other calls.

        The number belongs to this router.  It is given also while no store has a cluster of that name, and works
        as soon as one has.  ValueError: a bad name, or more names than a router can number.
        """

    def has_cluster(self, name: str, /) -> bool:
        """False when a store can be read and lacks the cluster; True also when none can be read."""

    def route_read(self, cluster: int, key: _Key | None = None, within_ms: int | None = None) -> Decision:
        """Decide where a read for the key goes; without a key no pin is asked for.

        within_ms: only a replica that is known to have all that the primary had so long ago, else the primary
        (BEHIND).  Reads shared memory: no system call, no lock.  On any doubt the answer is the primary, also
        where the read is `refused`.
        """

    def node_for_read(self, cluster: int, key: _Key | None = None, within_ms: int | None = None) -> str:
        """Decide as route_read() does, and return the node's name alone.

        The same name is the same str object, so no call makes one.  '': unknown, use your primary.
        Raises NoReplica where route_read() has `refused`.
        """

    def route_write(self, cluster: int, /) -> Decision:
        """Say where a write goes: the primary."""

    def node_for_write(self, cluster: int, /) -> str:
        """Say where a write goes, by the node's name alone; '': unknown, use your primary."""

    def record_write(self, cluster: int, key: _Key, seconds: int = 0) -> int:
        """Record that a write for the key has committed, and return a status.

        From OK on no process of this host reads the key from a replica that lacks the write.  Call it after
        COMMIT has returned.  seconds: how long the pin lasts at most; 0: as the cluster has it.
        E_UNREACHABLE, E_REFUSED: pinned in this process only.  Waits no longer than the router's timeout, and
        lets other threads run meanwhile.
        """

    def record_writes(self, cluster: int, keys: Iterable[_Key], seconds: int = 0) -> int:
        """Record that writes for all these keys have committed, in one round trip for each 64; returns a status.

        OK: all are recorded, as record_write() does it.  E_UNREACHABLE, E_REFUSED: those that were not are
        pinned in this process only.  keys: any iterable of keys; none is OK.
        """

    def hold(self, cluster: int, key: _Key, ms: int) -> int:
        """Send the key's reads to the primary for `ms` from now, whatever replicas have; returns a status.

        Call it before a write whose process may not live to record it.  Waits as record_write() does.
        """

    def token_issue(self, cluster: int, key: _Key) -> str | None:
        """Issue a token that carries the key's pin to another host; None: there is no key to sign with.

        Call it after record_write() or Scope.end(), whatever those returned.
        """

    def endpoint(self, cluster: int, node: str) -> str | None:
        """Return a node's connection string as far as it is no secret; None: no such node, or no store."""

    def scope(self, cluster: int, key: _Key | None = None) -> Scope:
        """Begin a request; without a key it has no identity: its reads are unkeyed, its writes not recorded."""

    def close(self) -> None:
        """Give the store and the connection back.

        Later calls of the router and of its scopes answer as without a store: '', the primary.  Calls that
        other threads are inside of end first.
        """

    @property
    def closed(self) -> bool:
        """Has close() been called?"""


@final
class Scope:
    """One request: what Router.scope() returns.

    Any thread may call it.  As a context manager it ends at the end of the block.
    """

    def read(self, within_ms: int | None = None) -> Decision:
        """Decide where the request's next read goes.

        The first read decides and later ones repeat it, until the scope writes or is forced, or the decision is
        too old to be repeated.  within_ms: as for Router.route_read(); a replica is then decided on anew, and
        stays the one that it was while it is within the bound.
        """

    def node(self) -> str:
        """Decide as read() does, and return the node's name alone; '': unknown, use your primary.

        Raises NoReplica where read() has `refused`.
        """

    def wrote(self) -> None:
        """The request has written, or is about to: its reads go to the primary from here on."""

    def end(self) -> int:
        """End the request: records the write, if wrote() was called and there is a key; returns a status.

        Call it after COMMIT.  OK: recorded, or nothing to record.  Waits as Router.record_write() does.
        """

    def rekey(self, key: _Key | None, /) -> None:
        """The request's identity became known, or changed: from here on this key counts; None: no identity.

        What the old key's pin and accepted tokens ask for is still asked for.
        """

    def accept(self, token: str | bytes, /) -> int:
        """Accept a token, so that the scope sees what was recorded before it was issued; returns a status.

        Any text from anyone: E_TOKEN_FORGED, E_TOKEN_EXPIRED and E_TOKEN_FOREIGN leave the scope as it was,
        E_STORE and E_CLUSTER send its reads to the primary.  Waits as Router.record_write() does.
        """

    def force_primary(self) -> None:
        """Send the request's reads to the primary, until as many calls of unforce()."""

    def unforce(self) -> None:
        """Undo one force_primary()."""

    def __enter__(self) -> Scope:
        """Return the scope itself."""

    def __exit__(self, *exception: type[BaseException] | BaseException | TracebackType | None) -> None:
        """Call end(), also when the block raised; no exception is swallowed."""


@final
class Decision:
    """Where a read or a write goes, as of the moment it was asked.  Immutable."""

    @property
    def node(self) -> str:
        """Name of the node in the daemon's config, interned; '': unknown, use your primary."""

    @property
    def role(self) -> int:
        """PRIMARY or REPLICA."""

    @property
    def reason(self) -> int:
        """Why this node: BALANCED, PINNED and so on."""

    @property
    def refused(self) -> bool:
        """True: by no_replica = error or primary_budget this read is to fail; the node is the primary all the same."""

    @property
    def pin_left_ms(self) -> int:
        """Milliseconds that are left of the key's pin, else of the cluster's floor; 0: neither."""

    @property
    def epoch(self) -> int:
        """Of the daemon whose store decided; 0: no store."""

    @property
    def reason_name(self) -> str:
        """The reason as text: 'BALANCED'."""
