"""What may be shown of a text in which a database URL stands."""

import re

IN_USER_INFO = re.compile(r"(://[^:/@\s]*):\S*@")
IN_QUERY = re.compile(r"(password=)[^&\s]*", re.IGNORECASE)


def hide_password(text: str) -> str:
    """The text with *** for the passwords of the URLs in it."""
    return IN_QUERY.sub(r"\1***", IN_USER_INFO.sub(r"\1:***@", text))
