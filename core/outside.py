"""Where every text from outside (a server's, a model's, a tool's, a graph's) passes before it is kept or shown.

Two rules. A secret that this process knows (a key, a password, a token of its settings or environment) goes
nowhere: it is hidden in whatever is stored, streamed, exported or logged. In what tells of a failure (errors,
exceptions, headers, log lines) all that looks like a secret, or is called one, is hidden too. What a model answers
and what people write is else left as it is, but for what no database can hold.

Invariant: all of this takes time in proportion to the text, whatever the text is; a long one is cut first.
"""

import json
import math
import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any
from urllib.parse import quote

HIDDEN = "***"
LONGEST_ERROR = 2_000

# -- what cannot be stored ---------------------------------------------------------------------------------


def clean_text(value: str) -> str:
    """The same text without NUL characters and lone surrogates, which neither database can hold."""
    if value.isascii():
        return value.replace("\0", "")
    return value.replace("\0", "").encode("utf-8", "ignore").decode("utf-8")


def fit_text(text: str) -> str:
    """The text as it may be kept and shown: clean, and without any secret of this process."""
    return hide_known(clean_text(text))


def fit_data(data: Any) -> Any:
    """Plain data as it may be kept, in names and values alike; a number that JSON does not know as its name."""
    if isinstance(data, str):
        return fit_text(data)
    if isinstance(data, float):
        return data if math.isfinite(data) else name_number(data)
    if isinstance(data, Mapping):
        return {fit_text(str(name)): fit_data(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [fit_data(item) for item in data]
    return data


def name_number(number: float) -> str:
    """How a number is called that is none, or has no bound."""
    if math.isnan(number):
        return "NaN"
    return "Infinity" if number > 0 else "-Infinity"


# -- secrets that are known --------------------------------------------------------------------------------

_SECRET_WORDS = {"key", "keys", "token", "tokens", "pass", "pwd", "auth", "secret", "secrets", "credential"}
_SECRET_ENDINGS = ("apikey", "token", "secret", "password", "passwd", "passphrase", "credentials")
# Of the variables that end so, what they hold is a place or a name, and gives nothing away.
_HARMLESS_WORDS = {"sock", "socket", "file", "path", "dir", "home", "url", "uri", "host", "name", "id", "user"}
_WORDS_OF_NAME = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_PASSWORD_IN_ADDRESS = re.compile(r"://[^/\s:@]*:([^/\s@]+)@")
_SHORTEST_IN_ERRORS, _SHORTEST, _SHORTEST_PLAIN = 4, 8, 12


class _Known:
    """The secrets of this process, the longest first, as one may be a part of another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self.everywhere: tuple[str, ...] = ()
        self.in_errors: tuple[str, ...] = ()
        self.in_bytes: tuple[bytes, ...] = ()
        self.longest_in_errors = 0

    def change(self, values: Iterable[str], by: int) -> None:
        with self._lock:
            for value in values:
                self._counts[value] += by
            self._counts = +self._counts
            forms = {form for value in self._counts for form in _forms_of(value)}
            self.in_errors = tuple(sorted(forms, key=len, reverse=True))
            self.everywhere = tuple(form for form in self.in_errors if _is_distinct(form))
            self.in_bytes = tuple(form.encode("utf-8", "ignore") for form in self.everywhere)
            self.longest_in_errors = max(map(len, self.in_errors), default=0)


_known = _Known()


def know_secrets(values: Iterable[str]) -> Callable[[], None]:
    """Hide these values from now on, until what is returned is called."""
    known = [clean_text(value) for value in values if len(value) >= _SHORTEST_IN_ERRORS]
    _known.change(known, 1)
    return partial(_known.change, known, -1)


def find_secrets(variables: Mapping[str, str]) -> list[str]:
    """What of variables with these values must not be shown, by what they are called and how they look."""
    found = []
    for name, value in variables.items():
        found += _PASSWORD_IN_ADDRESS.findall(value)
        if (_is_called_secret(name) and not _is_place(value)) or looks_secret(value):
            found.append(value)
    return [one for one in found if len(one) >= _SHORTEST_IN_ERRORS]


def _is_called_secret(name: str) -> bool:
    words = [word.lower() for word in _WORDS_OF_NAME.findall(name)]
    if not words or words[-1] in _HARMLESS_WORDS:
        return False
    return not _SECRET_WORDS.isdisjoint(words) or any(word.endswith(_SECRET_ENDINGS) for word in words)


def _is_place(value: str) -> bool:
    return "\0" not in value and os.path.exists(value)  # noqa: PTH110 - a value of any kind, which Path may refuse


def _is_distinct(value: str) -> bool:
    """Whether it would not stand in a text for another reason, as a short word that is a password might."""
    has_both = any(map(str.isdigit, value)) and any(map(str.isalpha, value))
    return len(value) >= _SHORTEST_PLAIN or (len(value) >= _SHORTEST and has_both)


def _forms_of(secret: str) -> set[str]:
    """A secret, and how it stands in JSON and in an address."""
    escaped = {json.dumps(secret, ensure_ascii=plain)[1:-1] for plain in (True, False)}
    return {secret, quote(secret, safe=""), *escaped}


def hide_known(text: str) -> str:
    """The text without any secret of this process; quick enough to be asked of all that is kept."""
    for secret in _known.everywhere:
        if secret in text:
            text = text.replace(secret, HIDDEN)
    return text


def hide_known_in(blob: bytes) -> bytes:
    """The bytes with each secret of this process as so many asterisks: whatever form they have, they keep it."""
    for secret in _known.in_bytes:
        if secret in blob:
            blob = blob.replace(secret, b"*" * len(secret))
    return blob


def holds_known(text: bytes) -> bool:
    return any(secret in text for secret in _known.in_bytes)


class TextInPieces:
    """A text that comes in pieces, which may cut a secret in two: what may be the beginning of one is held back."""

    def __init__(self) -> None:
        self._held = ""

    def take(self, piece: str) -> str:
        """As much of the text as can be shown by now."""
        if not _known.everywhere:
            return self._give(piece)
        text = hide_known(self._held + piece)
        size = _size_of_beginning(text)
        self._held = text[len(text) - size :]
        return text[: len(text) - size]

    def rest(self) -> str:
        """What was held back, at the end of the text."""
        return self._give("")

    def _give(self, piece: str) -> str:
        text, self._held = self._held + piece, ""
        return text


def _size_of_beginning(text: str) -> int:
    """How many characters at the end of the text are the beginning of a secret."""
    greatest = 0
    for secret in _known.everywhere:
        at = text.find(secret[0], max(len(text) - len(secret) + 1, 0))
        while at >= 0 and not secret.startswith(text[at:]):
            at = text.find(secret[0], at + 1)
        if at >= 0:
            greatest = max(greatest, len(text) - at)
    return greatest


# -- what looks like a secret ------------------------------------------------------------------------------

# None of these looks ahead further than it takes: a match that is none is passed over as a whole.
_PREFIXES = "sk|pk|rk|key|xai|gsk|hf|ghp|gho|ghu|ghs|ghr|github_pat|glpat|lsv2|xox[abeprs]"
_LOOKS = re.compile(
    rf"(?P<shaped>\b(?:{_PREFIXES})[-_][\w.\-]{{8,}})"
    r"|\bAIza[\w\-]{12,}"
    r"|\bAKIA[0-9A-Z]{12,}"
    r"|\beyJ[\w\-.]{20,}"
    r"|(?P<before>\b(?:Bearer|Basic)\s{1,8})(?P<credentials>[\w.\-+/=~]{8,})"
    r"|(?<=://)[^/\s@]{1,500}(?=@)",
    re.IGNORECASE,
)
_WHOLE_LOOK = re.compile(rf"(?:{_PREFIXES})[-_][\w.\-]{{12,}}|AIza[\w\-]{{12,}}|AKIA[0-9A-Z]{{12,}}")
_NAMED = re.compile(
    r"(?P<name>(?<![a-z])(?:(?P<weak>keys?|tokens?)|(?:api|access|secret|private)[_\- ]?key"
    r"|(?:access|auth|refresh|session)[_\- ]?token|authorization|password|passwd|passphrase|secret|credentials?)"
    r"(?:[_\-][a-z0-9]{0,20}){0,2}(?:[ ](?:is|was|provided|given|used)){0,2}"
    r"[\"']?\s{0,8}[=:]\s{0,8}[\"']?(?:(?:Bearer|Basic)\s{1,8})?+)"
    r"(?P<value>[^\s\"'&,;()]{4,})",
    re.IGNORECASE,
)
_SHORTEST_OF_WEAK = 8
_HAS_DIGIT = re.compile(r"\d")


def looks_secret(value: str) -> bool:
    """Whether a value as a whole has the shape of a key."""
    return _WHOLE_LOOK.fullmatch(value) is not None and _HAS_DIGIT.search(value) is not None


def hide_looks(text: str) -> str:
    """The text without what has the shape of a key; words that only speak of keys stay as they are."""
    return _LOOKS.sub(_hide_look, hide_known(text))


def _hide_look(match: re.Match[str]) -> str:
    shaped = match["shaped"] or match["credentials"]
    # All have a digit, which names like key_performance_indicator have not.
    if shaped is not None and not _HAS_DIGIT.search(shaped):
        return match[0]
    return f"{match['before'] or ''}{HIDDEN}"


def hide_secrets(text: str) -> str:
    """What tells of a failure, without known secrets, what looks like one, and what is called one."""
    for secret in _known.in_errors:
        if secret in text:
            text = text.replace(secret, HIDDEN)
    return _NAMED.sub(_hide_named, _LOOKS.sub(_hide_look, text))


def _hide_named(match: re.Match[str]) -> str:
    # What a short word is called so is a name, such as that of a key in a dictionary.
    if match["weak"] and len(match["value"]) < _SHORTEST_OF_WEAK:
        return match[0]
    return f"{match['name']}{HIDDEN}"


def as_text(value: object) -> str:
    """The text of an object, be it an error or any other; what it says of itself where it cannot be asked."""
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - what a stranger's object does when it is asked for its text
        return f"{type(value).__name__} cannot be shown ({type(error).__name__})"


def read_failure(said: object, most: int = LONGEST_ERROR) -> str:
    """What an error or a header says, as it may be kept and shown: cut, clean and without secrets."""
    text = as_text(said)
    # A key that ends beyond the cut is found as a whole; what then moves up from behind it is not shown.
    part = text[: most + _known.longest_in_errors]
    hidden = hide_secrets(clean_text(part))
    if len(part) < len(text):
        hidden = hidden[: len(hidden) - _size_of_beginning(hidden)]
    return hidden[:most]
