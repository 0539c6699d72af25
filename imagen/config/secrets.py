"""Secrets written into the configuration file, where only the name of a variable belongs."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from imagen.core.text import is_variable_name
from imagen.core.validation import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen.core.validation import Path as KeyPath

_SECRET_KEYS = {"password", "passwd", "passphrase", "secret", "authorization", "cookie"}
"""Words in a key whose value is a secret, whatever it looks like."""
_LIKELY_KEYS = {"token", "key", "apikey", "credential", "credentials", "auth"}
"""Words in a key whose value is a secret if it looks random."""

_MARKS = (
    *("r8_", "hf_", "sk-", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_", "glpat-"),
    *("AKIA", "xox", "AIza", "eyJ", "earer ", "asic ", "://"),
)
"""A value without any of these is not searched further."""
_TOKEN = (
    r"(?<![\w/.-])("
    r"r8_\w{4,}|hf_[A-Za-z0-9]{8,}|sk-[\w-]{8,}|gh[pousr]_\w{4,}|github_pat_\w{8,}|glpat-[\w-]{8,}"
    r"|AKIA[0-9A-Z]{6,}|xox[abprs]-[\w-]{8,}|AIza[\w-]{20,}|eyJ[\w-]{10,}\.[\w-]+\.[\w-]*"
    r")(?![\w/.])"
)
# Base64 rather than a word of a prompt: with a digit, `=`, or a capital after a small letter.
_SCHEME = (
    r"\s*(?:(?i:bearer)\s+\S{6,}"
    r"|(?i:basic)\s+(?=\S*(?:[0-9=]|[a-z][A-Z]))[\w+/]{6,}={0,2})\s*"
)
_USER_IN_URL = r"\w://[^/\s@:]*:[^/\s@]+@"
_SECRET_IN_URL = r"[?&][\w-]{0,40}(?:token|secret|passw|api_?key|signature)[\w-]{0,40}=[^&\s]"


def find_secrets(values: object) -> list[Problem]:
    """A problem for each value that is a secret; its sentence does not quote the value."""
    found: list[Problem] = []
    for path, text in list_texts(values):
        kind = _kind_of_secret(path, text)
        if not kind:
            continue
        key = _last_key(path)
        if key.endswith("_env"):
            remedy = (
                f"{key} takes the name of an environment variable: "
                "put the secret into that variable."
            )
        elif len(path) > 3 and path[-1] == key:
            remedy = f"Put it into an environment variable and name that in `{path[-2]}_env.{key}`."
        elif _is_secret_key(path):
            remedy = f"Put it into an environment variable and name that here: `{key}_env: NAME`."
        else:
            remedy = (
                "Put the secret into an environment variable, and name that with the key that "
                "ends in `_env`."
            )
        found.append(Problem(path, f"{kind} does not belong in a file", remedy))
    return found


def masked(values: Any, path: KeyPath = ()) -> Any:
    """A copy in which `***` replaces everything that may be a secret."""
    if isinstance(values, dict):
        return {key: masked(value, (*path, key)) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [masked(value, (*path, i)) for i, value in enumerate(values)]
    if not isinstance(values, str) or not values:
        return values
    is_odd_name = _names_a_variable(path) and not is_variable_name(values)
    may_be_secret = is_odd_name or _is_secret_key(path) or _kind_of_secret(path, values)
    return "***" if may_be_secret else values


def variables(values: object) -> list[tuple[KeyPath, str]]:
    """The environment variables that the configuration names, each with its key."""
    return [(path, text) for path, text in list_texts(values) if text and _names_a_variable(path)]


def list_texts(values: object, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """Every text in the values, with its path."""
    if isinstance(values, str):
        yield path, values
    elif isinstance(values, dict):
        for key, value in values.items():
            yield from list_texts(value, (*path, key))
    elif isinstance(values, list | tuple):
        for i, value in enumerate(values):
            yield from list_texts(value, (*path, i))


def _kind_of_secret(path: KeyPath, text: str) -> str:
    """What kind of secret a text is, or "" if it is not one."""
    is_marked = any(mark in text for mark in _MARKS)
    if is_marked and re.search(_USER_IN_URL, text):
        return "a URL with a password in it"
    if "://" in text and re.search(_SECRET_IN_URL, text[text.index("://") :]):
        return "a URL with a secret in it"
    if is_marked and (re.search(_TOKEN, text) or re.fullmatch(_SCHEME, text)):
        return "what looks like a token"
    words = _words(path)
    if words & _SECRET_KEYS and text:
        return "a secret"
    if not words & _LIKELY_KEYS or len(text) < 16 or not re.fullmatch(r"[\w+/=.~-]+", text):
        return ""
    # What is long, mixed and varied is not something that people write.
    kinds = sum(bool(re.search(kind, text)) for kind in ("[a-z]", "[A-Z]", "[0-9]"))
    shares = [n / len(text) for n in Counter(text).values()]
    is_random = kinds >= 2 and -sum(share * math.log2(share) for share in shares) > 3
    return "what looks like a secret" if is_random else ""


def _words(path: KeyPath) -> set[str]:
    """The words of the key; none if it names a variable or a file instead."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", _last_key(path))
    words = [part.lower() for part in parts]
    if _names_a_variable(path) or (words and words[-1] in ("file", "path")):
        return set()
    return set(words) | {word.removesuffix("s") for word in words}


def _is_secret_key(path: KeyPath) -> bool:
    return bool(_words(path) & (_SECRET_KEYS | _LIKELY_KEYS))


def _names_a_variable(path: KeyPath) -> bool:
    return any(isinstance(part, str) and part.endswith("_env") for part in path)


def _last_key(path: KeyPath) -> str:
    return next((part for part in reversed(path) if isinstance(part, str)), "")
