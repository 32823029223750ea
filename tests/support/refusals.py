"""Files that nothing can be made of, and what a command that refuses them must do."""

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import exit_code


def write_bad_files() -> None:
    """Write files and folders that cannot be trained on into the working folder."""
    for name in ("empty", "texts", "broken"):
        Path(name).mkdir()
    Path("texts/a.txt").write_text("no image")
    for name in ("broken/a.png", "broken/b.jpg", "picture.png"):
        Path(name).write_bytes(b"\x89PNG\xff\xfe")
    Path("bad.toml").write_text("beta = = 3")


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def assert_refused(
    main: Callable[[list[str]], int], flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(Path())
    code = exit_code(main, flags)
    printed = capsys.readouterr()
    assert message in printed.err
    assert (code, printed.err.count("\n"), printed.out) == (2, 1, "")
    assert contents(Path()) == before
