"""tokens.py -- tokens of several clusters in one cookie, header or payload."""
import re

import pinroute

REFUSED = (pinroute.E_TOKEN_FORGED, pinroute.E_TOKEN_EXPIRED, pinroute.E_TOKEN_FOREIGN, pinroute.E_INVALID)
ANOTHERS = (pinroute.E_TOKEN_FOREIGN, pinroute.E_STORE, pinroute.E_CLUSTER)  # for sure, or perhaps
SEPARATOR = "."
LONGEST = 96  # PINROUTE_TOKEN_SIZE
MOST = 128
_LOOKS_LIKE_ONE = re.compile(f"[A-Za-z0-9_-]{{1,{LONGEST - 1}}}").fullmatch  # safe in any header


def join(tokens):
    """One text of them all, or None."""
    return SEPARATOR.join(token for token in tokens if token) or None


def split(text):
    """The tokens in a text from anyone: no two are the same, and none is longer than a token can be."""
    if isinstance(text, bytes):
        text = text.decode("ascii", "replace")
    if not isinstance(text, str) or len(text) > LONGEST * MOST:
        return []
    return list(dict.fromkeys(filter(_LOOKS_LIKE_ONE, text.split(SEPARATOR, MOST))))
