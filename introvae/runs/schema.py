"""Schema of the measures in scores.json: each is a number, unless a table here says otherwise of its name."""

import math
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

from introvae.errors import UserError

LEAST, LARGEST = 1e-100, 1e100  # sizes of numbers that can be drawn, on a logarithmic axis too
MOST_STEPS = 2**53  # whole numbers up to here are exact in JSON
TAKEN = (  # names of a report's columns that hold no measure
    "run", "state", "reason", "step", "score", "stderr", "validation", "validation_stderr", "test", "test_stderr",
    "reconstruction", "sharpness", "structure", "diversity", "informativeness",
    "alpha", "beta", "m", "m/KL", "m/predicted KL",
)  # fmt: skip

Check = Callable[[Any], bool]


def is_number(value: Any) -> bool:
    """Tell whether a value is a number that can be drawn: finite, and of no absurd size."""
    return type(value) in (int, float) and abs(value) <= LARGEST


def is_share(value: Any) -> bool:
    """Tell whether a value is a number from 0 to 1."""
    return type(value) in (int, float) and 0 <= value <= 1


def is_step(value: Any) -> bool:
    """Tell whether a value is a number of steps."""
    return type(value) in (int, float) and 0 <= value <= MOST_STEPS and value % 1 == 0


def is_text(value: Any) -> bool:
    """Tell whether a value is text that any file and terminal can show."""
    return isinstance(value, str) and value.isprintable()


def printable(text: str) -> str:
    """Replace by spaces what cannot be shown: control characters, and bytes of a file's name that are no UTF-8."""
    return "".join(character if character.isprintable() else " " for character in text)


def shown(value: Any) -> str:
    """Return the beginning of a value as text, however long or deep it is."""
    return printable(reprlib.repr(value))


def _list_of(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _by_threshold(check: Check) -> Check:
    return lambda value: isinstance(value, dict) and all(map(_is_threshold, value)) and all(map(check, value.values()))


def _is_threshold(name: str) -> bool:
    try:
        return LEAST <= float(name) <= LARGEST
    except ValueError:
        return False


def _is_positive(value: Any) -> bool:
    return is_number(value) and value >= LEAST


def _is_rung(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and is_step(value[0]) and is_share(value[1])


NUMBERS = _list_of(is_number), "a list of numbers"
POSITIVE = _is_positive, "a number above 0"
NOT_NEGATIVE = (lambda value: is_number(value) and value >= 0), "a number, 0 or more"
OTHERS: Mapping[str, tuple[Check, str]] = {
    **dict.fromkeys(("kl_per_dimension", "decoder_sensitivity", "swd_levels", "swd_reference_levels"), NUMBERS),
    **{f"power_spectrum_{name}": NUMBERS for name in ("real", "reconstructions", "samples")},
    **dict.fromkeys(("vae_kl", "predicted_kl"), NOT_NEGATIVE),
    "collapse_beta": POSITIVE,
    "spectrum": (_list_of(_is_positive), "a list of numbers above 0"),
    "active_units": (_by_threshold(is_number), "a table of numbers by threshold"),
    "kl_quantiles": (_by_threshold(_list_of(is_number)), "a table of lists of numbers by quantile"),
    "fid_library": (is_text, "a text"),
    "rungs": (_list_of(_is_rung), "a list of pairs of a step and a score"),
}


def known_measures(table: Mapping[str, Any], place: str, prefix: str = "") -> dict[str, Any]:
    """Return the measures of a table, without those that are not known, null or NaN.

    Args:
        table: The table, as JSON holds it.
        place: Its name in scores.json, for messages.
        prefix: The beginning of the measures' names in a report.

    Raises:
        UserError: If a name is a column's or no text, or a value is not of the kind that its name stands for.
    """
    found = {}
    for name, value in table.items():
        if not is_text(name) or prefix + name in TAKEN:
            raise UserError(f"{place} has a name {shown(name)}; it takes names that are text, and of no other column")
        value = _without_unknown(value)
        if value is None:
            continue
        check, words = OTHERS.get(name, (is_number, f"a number of at most {LARGEST:g}"))
        if not check(value):
            raise UserError(f"{place}.{name} is {shown(value)}; it takes {words}")
        found[name] = value
    return found


def _without_unknown(value: Any) -> Any:
    """Return None for NaN, and a table without what is None: measures of images that were not finite."""
    if isinstance(value, dict):
        return {name: inner for name, inner in value.items() if inner is not None}
    return None if isinstance(value, float) and math.isnan(value) else value
