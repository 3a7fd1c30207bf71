"""served.py -- routing with pinroute: this process's handle, and what is read or written outside of requests."""
import os
import time
import warnings

from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connections

import pinroute

from . import state, tokens
from .conf import pin_seconds_to_record, pinning_seconds
from .identity import Identity
from .request import ServedRequest, in_transaction
from .seed import UNSIGNED

_forced = pinroute._forced.get


class NoReplica(pinroute.NoReplica, OperationalError):
    """pinrouted's config has this read fail: no replica may be read from, and the primary is to be spared.
    To Django it is a database that is not there."""

    __module__ = "pinroute.django"


class ServedSite:
    """This process's routing, as pinrouted's store has it."""

    def __init__(self, conf):
        self.conf = conf
        self.groups = conf.groups
        self.hold_ms = conf.hold_ms
        try:
            self.router = pinroute.Router(conf.dir, timeout_ms=conf.timeout_ms, no_replica=NoReplica)
        except ValueError as e:
            raise ImproperlyConfigured(f"PINROUTE_DIR, or $PINROUTE_DIR: {e}") from e
        self.clusters = [self.router.cluster(group.name) for group in self.groups]
        self._began = time.monotonic()
        self._warn_of_silence()

    def _warn_of_silence(self):
        """A wrong name would show by nothing but reads that all go to the primary."""
        place = self.conf.dir or os.environ.get("PINROUTE_DIR") or "/run/pinroute"
        for group, cluster in zip(self.groups, self.clusters):
            if not self.router.has_cluster(group.name):
                _warn(f"pinrouted has no cluster {group.name!r}",
                      "name it as in [cluster NAME] of pinrouted.ini", group)
            elif self.router.route_read(cluster).reason == pinroute.STORE_UNAVAILABLE:
                _warn(f"there is no store of pinrouted's to read in {place}",
                      "start pinrouted, correct PINROUTE_DIR, or have this user join pinrouted's group", group)

    def _node(self, group):
        """An alias for a read of nobody in particular."""
        if in_transaction(connections[group.primary]):
            return group.primary
        return group.nodes[self.router.node_for_read(self.clusters[group.number])]

    def get_replica(self, within_ms=None):
        group = self.groups.first
        return group.nodes[self.router.node_for_read(self.clusters[0], None, within_ms)]

    def read(self, model):
        """A read outside of any request."""
        group = self.groups.of_model(model)
        if _forced() or state.context_is_pinned():
            return group.primary
        return self._node(group)

    def read_plain(self, model):
        return self._node(self.groups.of_model(model))

    def write(self, model):
        """A write outside of any request: nobody knows whose, so this context reads from the primary for a while."""
        state.pin_context(pinning_seconds())
        return self.groups.of_model(model).primary

    def write_plain(self, model):
        return self.groups.of_model(model).primary

    def allow_migrate(self, alias, app_label, model_name=None):
        return self.groups.allow_migrate(alias, app_label, model_name)

    def begin(self, http, carried, unsafe):
        """A request whose client brought `carried`: tokens, or the seed's cookie."""
        seeds = UNSIGNED in carried and time.monotonic() < self._began + pinning_seconds()
        request = ServedRequest(self, Identity(http, self.conf.key), pinned=seeds)
        request.accept([token for text in carried for token in tokens.split(text) if token != UNSIGNED])
        if unsafe:
            request.mark_written()
        return request

    def begin_job(self, key, carried, cluster):
        request = ServedRequest(self, Identity(None, key=key), cluster=cluster)
        request.accept([token for text in carried for token in tokens.split(text)])
        return request

    def cookie_seconds(self, request):
        """How long the browser keeps the token: as long as the pin, when the cluster says that, not the site."""
        seconds = pinning_seconds()
        return seconds if pin_seconds_to_record() else max(seconds, -(-request.pin_left_ms() // 1000))


def _warn(what, mend, group):
    warnings.warn(f"{what}, so all reads go to {group.primary!r} until there is: {mend}.", UserWarning, stacklevel=4)
