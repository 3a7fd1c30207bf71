"""site.py -- how this process routes: with pinroute, or as the seed did while there is no pinroute.
With any PINROUTE_* setting or $PINROUTE_DIR it is pinroute, whatever happens to the daemon; without, it is pinroute as
soon as there is a store in the default place, from then on for good."""
import os
import time

from . import conf as settings_of_site
from .seed import SeedSite
from .served import ServedSite

LOOK_EVERY = 1.0  # seconds
_site = None
_look_at = 0.0


def site():
    """This process's SeedSite or ServedSite; cheap, and made anew when settings were overridden."""
    global _site
    conf = settings_of_site.conf()
    if _site is None or _site.conf is not conf or (_look_at and time.monotonic() >= _look_at):
        _site = _choose(conf)
    return _site


def _choose(conf):
    global _look_at
    known = _site if _site is not None and _site.conf is conf else None
    if conf.configured or os.path.exists(settings_of_site.DEFAULT_STORE):
        _look_at = 0.0
        # the first threads may come at once: one site for all, or what one could not record another would not know
        return vars(conf).setdefault("served", known if isinstance(known, ServedSite) else ServedSite(conf))
    _look_at = time.monotonic() + LOOK_EVERY
    return known or SeedSite(conf)
