"""Secrets out of texts, before a person, a log or a tracking server reads them.

What is secret: the part before the @ of a URI, values in its query that are named as tokens, keys and passwords are, a header's
`Authorization`; and, wherever they stand, the values of environment variables of such names and the passwords in their URIs.
"""

import logging
import os
import re
import traceback
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote, unquote

MASK = "***"
_SHORTEST = 6
"""Characters; a shorter value stands in too many words to be looked for everywhere."""
_VARIABLE = re.compile(r"(TOKEN|SECRET|PASSWORD|PASSWD|ACCESS_KEY|API_KEY|PRIVATE_KEY)$", re.IGNORECASE)
_USER = re.compile(r"(?<=://)[^\s/?#'\"<>]+@")
_PASSWORD = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^\s/?#]*)@")
_QUERY = re.compile(
    r"([?&;][\w.-]*(?:token|key|secret|passw|pwd|sig|credential|auth)[\w.-]*=)[^&;\s'\"<>]+",
    re.IGNORECASE,
)
_HEADER = re.compile(r"(Authorization['\"]?: *['\"]?\w+ +)[^\s'\"]+", re.IGNORECASE)


def mask(text: str) -> str:
    """Give a text without what is secret in it."""
    for secret in sorted(set(_secrets()), key=len, reverse=True):
        text = text.replace(secret, MASK)
    text = _USER.sub(f"{MASK}@", text)
    return _HEADER.sub(rf"\1{MASK}", _QUERY.sub(rf"\1{MASK}", text))


def _secrets() -> Iterator[str]:
    """Yield what the environment holds that is secret, as it stands there and as a URI would have it."""
    for name, value in os.environ.items():
        found = [value] if _VARIABLE.search(name) else []
        found += [part for user in _PASSWORD.findall(value) for part in user.split(":", 1)[1:]]
        for secret in found:
            yield from (form for form in (secret, quote(secret, safe=""), unquote(secret)) if len(form) >= _SHORTEST)


def mask_logs() -> None:
    """Have no record of this process carry a secret, whoever logs it and wherever it goes."""
    logging.setLogRecordFactory(_masked_record)


def _masked_record(*arguments: Any, **further: Any) -> logging.LogRecord:
    record = logging.LogRecord(*arguments, **further)
    with suppress(TypeError, ValueError):  # a text that its arguments do not fit, of which logging itself tells
        record.msg, record.args = mask(record.getMessage()), ()
    if record.exc_info and record.exc_info[0] is not None:
        record.exc_text = mask("".join(traceback.format_exception(*record.exc_info)).rstrip())
    return record
