"""tokens.py -- tokens of several clusters in one cookie, header or payload."""
import pinroute

REFUSED = (pinroute.E_TOKEN_FORGED, pinroute.E_TOKEN_EXPIRED, pinroute.E_TOKEN_FOREIGN, pinroute.E_INVALID)
SEPARATOR = "."
LONGEST = 96  # PINROUTE_TOKEN_SIZE
MOST = 128


def join(tokens):
    """One text of them all, or None."""
    return SEPARATOR.join(token for token in tokens if token) or None


def split(text):
    """The tokens in a text from anyone: no two are the same, and none is longer than a token can be."""
    if not isinstance(text, str) or len(text) > LONGEST * MOST:
        return []
    return list(dict.fromkeys(t for t in text.split(SEPARATOR, MOST) if 0 < len(t) < LONGEST and t.isascii()))
