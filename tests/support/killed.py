"""Kill introvae-train with SIGKILL and continue it, again and again: a script for test_reliability.py.

    python killed.py FOLDER KILLS FLAG...

FOLDER/whole/run is never killed; FOLDER/0/run, FOLDER/1/run and so on are killed once and continued by the same
command. The moments are lines drawn at random: in turn of all that writes, of the whole trainer, and of a file that is
half written, so that a temporary file is left behind. Each killed command is a process forked from this one, which has
done the slow imports and the whole run; two of them run at a time.
"""

import gc
import os
import random
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

os.environ["CUDA_VISIBLE_DEVICES"] = ""  # with a GPU, PyTorch's backward pass starts threads, which no fork inherits

from forks import ended, forked

from analysis.train import main
from introvae import files
from introvae.runs import folder
from introvae.training import trainer

WRITERS = {function.__code__ for function in (folder.save_checkpoint, files.write_part, files.sync)}
FILES = {files.__file__, folder.__file__, trainer.__file__}


class Moments:
    """Trace function that counts lines of three kinds, and kills the process at the `last` one of a `kind`."""

    def __init__(self, kind: int, last: int) -> None:
        self.kind, self.last, self.seen = kind, last, [0, 0, 0]

    def __call__(self, frame: FrameType, event: str, argument: Any) -> "Moments | None":
        half_written = frame.f_code is files.write_part.__code__ and "file" in frame.f_locals
        kinds = [frame.f_code in WRITERS, frame.f_code.co_filename in FILES, half_written]
        if event == "line":
            self.seen = [count + kind for count, kind in zip(self.seen, kinds, strict=True)]
            if self.seen[self.kind] == self.last:
                os.kill(os.getpid(), signal.SIGKILL)
        return self if kinds[0] or kinds[1] else None


def train(flags: list[str], out: Path, moments: Moments | None = None) -> int:
    """Train, and return the command's exit code."""
    sys.settrace(moments)
    try:
        return main([*flags, "--out", str(out)])
    finally:
        sys.settrace(None)


def kill_and_continue(root: Path, flags: list[str], kills: Sequence[tuple[int, Moments]]) -> None:
    """Kill and continue runs one after another, with their numbers and moments."""
    for number, moments in kills:
        out = root / str(number) / "run"
        assert ended(forked(partial(train, flags, out, moments))) == -signal.SIGKILL
        print(f"killed {number}:", *sorted(path.name for path in out.rglob("*")), flush=True)
        assert ended(forked(partial(train, flags, out))) == 0


def run(root: Path, kills: int, flags: list[str]) -> None:
    draws, whole = random.Random(0), Moments(0, -1)
    assert train(flags, root / "whole" / "run", whole) == 0
    moments = [Moments(number % 3, draws.randint(1, whole.seen[number % 3])) for number in range(kills)]
    numbered = list(enumerate(moments))
    gc.freeze()  # or each process would copy what it only searches for garbage
    halves = [forked(partial(kill_and_continue, root, flags, numbered[half::2])) for half in range(2)]
    assert [ended(half) for half in halves] == [0, 0]


if __name__ == "__main__":
    run(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
