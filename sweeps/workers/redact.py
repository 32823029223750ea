"""Redaction of passwords in texts that hold a database URL."""

import re

IN_USER_INFO = re.compile(r"(://[^:/@\s]*):\S*@")
IN_QUERY = re.compile(r"(password=)[^&\s]*", re.IGNORECASE)


def hide_password(text: str) -> str:
    """Replace the passwords of URLs in the text by ***."""
    return IN_QUERY.sub(r"\1***", IN_USER_INFO.sub(r"\1:***@", text))
