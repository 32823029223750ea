"""The benchmark of near duplicates prints what it says."""

import re
import sys

import duplicates
import pytest


def test_changes_are_found_and_images_are_timed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(duplicates, "MOST_CHANGED", 40)
    monkeypatch.setattr(sys, "argv", ["duplicates.py", "--image-size", "64", "--count", "450"])
    duplicates.main()
    *changes, groups, seconds = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in changes] == list(duplicates.CHANGES)
    assert "mirrored: 100.0%" in changes
    found = re.fullmatch(r"400 images, (\d+) groups; the largest have ([\d, ]+) images", groups)
    assert found and 250 < int(found[1]) < 400 and max(map(int, found[2].split(", "))) <= 10  # of one person each
    assert re.fullmatch(r"450 images: \d+ s of one core", seconds)
