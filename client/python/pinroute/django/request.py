"""request.py -- one request, or job, that pinroute routes: what it reads from where, and what it leaves behind.
Shared by all threads and tasks of the request; what belongs to one of them is in state.py and pinroute.use_primary."""
from threading import get_ident

from django.db import connections

import pinroute

from . import state, tokens
from .conf import pin_seconds_to_record
from .state import here

PINNING = (pinroute.PINNED, pinroute.FLOOR, pinroute.FORCED)


def in_transaction(wrapper):
    """Is a transaction open on this connection, by atomic() or with autocommit off?"""
    return wrapper.in_atomic_block or (not wrapper.autocommit and wrapper.connection is not None)


class Part:
    """What a request knows of one group of aliases.

    seat     (thread, its connection to the primary): looking that up each time would cost more than the decision
    pinned   reads go to the primary, whatever the scope says
    wrote    there is something to record
    carried  tokens that the client brought for this cluster
    """

    __slots__ = ("group", "primary", "nodes", "cluster", "scope", "key", "node", "seat", "pinned", "wrote", "carried",
                 "held", "recorder")

    def __init__(self, group, cluster, scope, key, pinned):
        self.group = group
        self.primary = group.primary
        self.nodes = group.nodes
        self.cluster = cluster
        self.scope = scope
        self.key = key
        self.node = scope.node
        self.seat = (None, None)
        self.pinned = pinned
        self.wrote = False
        self.carried = []
        self.held = set()
        self.recorder = None

    def connection(self):
        """This thread's connection to the primary, open or not."""
        thread, wrapper = self.seat
        if thread is not here.thread:
            wrapper = connections[self.primary]
            self.seat = (here.thread, wrapper)
        return wrapper

    def rekey(self, key):
        """The client is known by this key; whoever finds that out first tells the scope, before anyone reads by it."""
        if key != self.key:
            self.scope.rekey(key)
            self.key = key


class ServedRequest:
    """One request or job.  routers.py reads some of it without asking, for speed:

    only    the one part, when there is one
    known   who the client is will not change; else what Identity.signs() says: about, count, probe, probed, lazy
    over    it has ended: who still carries it reads what the client may know of
    """

    __slots__ = ("_site", "_identity", "_parts", "_meant", "only", "known", "about", "count", "probe", "probed", "lazy",
                 "over", "__weakref__")

    def __init__(self, site, identity, pinned=False, cluster=None):
        self._site = site
        self._identity = identity
        self.known = identity.settled
        self._notice()
        key = identity.key
        self._parts = [Part(group, number, site.router.scope(number, key), key, pinned)
                       for group, number in zip(site.groups, site.clusters)]
        self.only = self._parts[0] if len(self._parts) == 1 else None
        self._meant = self._parts if cluster is None else [self._parts[site.groups.named(cluster).number]]
        self.over = False

    def part(self, model):
        """What is known of the group where the model lives."""
        return self._parts[self._site.groups.of_model(model).number]

    def _notice(self):
        """Remembers what is known of the client, so that a read sees at a glance whether there may be more by now."""
        self.about, self.count, self.probe, self.probed, self.lazy = self._identity.signs()

    def look(self):
        """Has the client become known?  True: there is doubt who it is, so the primary is right."""
        identity = self._identity
        if identity.asker:  # its own reads are routed by what is known, those of other threads have to wait or do this
            return identity.asker != get_ident()
        identity.look()
        for part in self._parts:
            part.rekey(identity.key)
        self.known = identity.settled
        self._notice()
        return identity.in_doubt and not self.known

    def in_doubt(self, part):
        """The alias for a read after look() was in doubt.  If that is because the site's function was refused its own
        read, this one must not be what takes the primary instead."""
        if self._identity.refused:
            part.node()  # raises, where this cluster refuses
        return part.primary

    def write(self, model):
        """The alias for a write; from now on this request reads from the primary, too."""
        part = self.only or self.part(model)
        if self.over:
            self._record_at_commit(part, connections[part.primary])
            return self._site.write(model)
        self._wrote(part)
        return part.primary

    def _wrote(self, part):
        part.pinned = part.wrote = True
        if self._site.hold_ms:
            self._hold(part)
        self._record_at_commit(part, part.connection())

    def _record_at_commit(self, part, wrapper):
        """Once per transaction, before the hooks of others, which may call for readers.
        A savepoint that is rolled back takes its hook along: the next write sets another."""
        if not wrapper.in_atomic_block:
            return
        recorder = part.recorder
        if recorder is None:
            def recorder():
                self._record(part)
            part.recorder = recorder
        hooks = wrapper.run_on_commit
        if not any(hook[1] is recorder for hook in hooks):
            wrapper.on_commit(recorder)
            hooks.insert(0, hooks.pop())

    def _hold(self, part):
        """Holds under each key that is known by now, once."""
        if not self.known:
            self.look()
        for key in self._identity.keys:
            if key not in part.held:
                part.held.add(key)
                self._site.router.hold(part.cluster, key, self._site.hold_ms)

    def _record(self, part, response=None):
        for key in self._identity.all(response):
            self._site.router.record_write(part.cluster, key, pin_seconds_to_record())

    def accept(self, carried):
        """Tokens from the client: each one counts for the cluster that it was issued for, and no other.  While one
        of these cannot be read, it may be that one's."""
        for token in carried:
            for part in self._parts:
                status = part.scope.accept(token)
                if status not in tokens.REFUSED:
                    part.carried.append(token)
                if status not in tokens.ANOTHERS:
                    break

    def pin(self):
        for part in self._parts:
            part.pinned = True

    def unpin(self):
        for part in self._parts:
            part.pinned = False
        self.decide_anew()

    def decide_anew(self):
        """Something may have been recorded: no part repeats what it decided before that."""
        for part in self._parts:
            part.rekey(self._identity.key)
            part.scope.end()

    def is_pinned(self):
        return any(part.pinned or part.scope.read().reason in PINNING for part in self._parts)

    def is_going_to_write(self):
        """Before a view that writes: hold, if the site wants that."""
        if self._site.hold_ms:
            for part in self._meant:
                self._hold(part)

    def mark_written(self, cluster=None):
        """Something was written that the router did not see; cluster None: to any that this is about."""
        for part in self._meant if cluster is None else [self._parts[self._site.groups.named(cluster).number]]:
            self._wrote(part)

    def token(self):
        """The tokens to hand on.  What this request has written and committed is recorded first."""
        for part in self._parts:
            if part.wrote and not in_transaction(part.connection()):
                self._record(part)
        return tokens.join(self._token_of(part, part.wrote or self._is_pinned(part)) for part in self._meant)

    def _is_pinned(self, part):
        """Has the client written here in an earlier request?"""
        key = self._identity.key
        return key is not None and self._site.router.route_read(part.cluster, key).pin_left_ms > 0

    def _token_of(self, part, anew):
        """A new token, if there is something to tell and a key to sign with, else those that the client brought."""
        issued = anew and self._site.router.token_issue(part.cluster, self._identity.key or self._identity.all()[-1])
        return issued or tokens.join(part.carried)

    def may_wait(self, response=None):
        """May finish() have to ask the daemon?"""
        return getattr(response, "_db_write", False) or any(part.wrote for part in self._parts)

    def finish(self, response):
        """Records what was written.  Returns what the browser is to remember: the cookie's value, or None."""
        if getattr(response, "_db_write", False):
            for part in self._parts:
                part.wrote = True
        if not self._record_all(response):
            return None
        said = tokens.join(self._token_of(part, part.wrote) for part in self._parts)
        for part in self._parts:
            part.wrote = False  # what streams from here on is recorded when that has ended
        return said

    def _record_all(self, response=None):
        written = [part for part in self._parts if part.wrote]
        for part in written:
            self._record(part, response)
        return bool(written)

    def abandon(self):
        """Records what was written since: there will be no response of ours, or it has begun to leave."""
        self._record_all()
        for part in self._parts:
            part.wrote = False

    def pin_left_ms(self):
        """How long the pins of this request's client may last."""
        key = self._identity.key
        return max(self._site.router.route_read(part.cluster, key).pin_left_ms for part in self._parts)

    def end(self):
        """From here on, who still carries it asks read_after()."""
        self.over = True
        self.decide_anew()
        for part in self._parts:
            part.pinned = False
            part.seat = (None, None)

    def read_after(self, part):
        """A read of a task or thread that has outlived the request: by the client's key and tokens."""
        if state.context_is_pinned() or in_transaction(connections[part.primary]):
            return part.primary
        return part.nodes[part.node()]
