"""Measures in scores.json: those that are of the kind of their name come back, and no others."""

from typing import Any

import pytest

from introvae.errors import UserError
from introvae.runs.schema import known_measures, printable

NESTED: dict[str, Any] = {}
for _ in range(900):
    NESTED = {"a": NESTED}

GOOD: dict[str, Any] = {
    "kl": 12.5, "mutual_information": -0.01, "scored_images": 80, "collapse_beta": 0.05, "vae_kl": 0,
    "active_units": {"0.01": 5, "0.1": 3}, "kl_quantiles": {"0.05": [0.5, 1], "0.5": []}, "spectrum": [20.0, 1e-9],
    "kl_per_dimension": [0.5, 1], "power_spectrum_real": [], "rungs": [[8, 0.5], [16.0, 1]],
    "fid_library": "torch-fidelity 0.4",
}  # fmt: skip


def test_measures_of_their_kind_come_back() -> None:
    assert known_measures(GOOD, "measures") == GOOD


def test_what_is_not_known_is_left_out() -> None:
    table = {"kl": float("nan"), "psnr": None, "kl_quantiles": {"0.05": None, "0.5": [1.0]}}
    assert known_measures(table, "measures") == {"kl_quantiles": {"0.5": [1.0]}}


@pytest.mark.parametrize(("table", "message"), [
    ({"kl": "x"}, "measures.kl is 'x'; it takes a number of at most 1e.100"),
    ({"kl": True}, "measures.kl is True"),
    ({"kl": [1.0]}, r"measures.kl is \[1.0\]"),
    ({"kl": 1e308}, r"measures.kl is 1e\+308"),
    ({"kl": float("inf")}, "measures.kl is inf"),
    ({"kl": 10**400}, "measures.kl is 1000+...0+; it takes a number"),
    ({"unknown": NESTED}, r"measures.unknown is \{'a': \{'a': "),
    ({"vae_kl": -5}, "measures.vae_kl is -5; it takes a number, 0 or more"),
    ({"collapse_beta": 5e-324}, "measures.collapse_beta is 5e-324; it takes a number above 0"),
    ({"kl_per_dimension": "x"}, "measures.kl_per_dimension is 'x'; it takes a list of numbers"),
    ({"power_spectrum_real": [1, "y"]}, r"measures.power_spectrum_real is \[1, 'y'\]"),
    ({"spectrum": [0.0]}, r"measures.spectrum is \[0.0\]; it takes a list of numbers above 0"),
    ({"active_units": {"low": 5}}, "measures.active_units is {'low': 5}; it takes a table of numbers by threshold"),
    ({"active_units": 5}, "measures.active_units is 5"),
    ({"kl_quantiles": {"0.5": 3}}, "measures.kl_quantiles is .*; it takes a table of lists of numbers by quantile"),
    ({"fid_library": "\x1b[2J"}, r"measures.fid_library is '\\x1b\[2J'; it takes a text"),
    ({"fid_library": "\ud800"}, r"measures.fid_library is '\\ud800'"),
    ({"\ud800": 1}, r"measures has a name '\\ud800'"),
    *(({"rungs": rungs}, "measures.rungs is .*; it takes a list of pairs of a step and a score")
      for rungs in (5, [1], "x", [["a", "b"]], [[10**400, 0.5]], [[8, 1.5]], [[-1, 0.5]], [[8.5, 0.5]])),
])  # fmt: skip
def test_others_are_named(table: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        known_measures(table, "measures")


def test_no_measure_takes_the_place_of_a_column() -> None:
    for name in ("state", "validation", "alpha", "m", "run", "sharpness"):
        with pytest.raises(UserError, match=f"measures has a name '{name}'; it takes names .* of no other column"):
            known_measures({name: 0.5}, "measures")
    with pytest.raises(UserError, match=r"test.measures has a name 'stderr'"):
        known_measures({"stderr": 0.5}, "test.measures", "test_")


def test_text_that_cannot_be_shown_becomes_spaces() -> None:
    assert printable("a\x1b[31mb\0c\n\udcffd é顔") == "a [31mb c  d é顔"
