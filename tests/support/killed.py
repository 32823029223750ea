"""Kill introvae-train with SIGKILL and continue it, again and again: a script for test_reliability.py.

    python killed.py FOLDER KILLS FLAG...

FOLDER/whole/run is never killed; FOLDER/0/run, FOLDER/1/run and so on are killed once and continued by the same
command. The moments are lines drawn at random: in turn of all that writes, of the whole trainer, and of a file that is
half written, so that a temporary file is left behind. Each command is a process forked from this one, which has done
the slow imports.
"""

import os
import random
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import matplotlib.backends.backend_agg  # noqa: F401  imported here once, not in every process
import seaborn  # noqa: F401
import torch._dynamo  # noqa: F401

import analysis.measures.score  # noqa: F401
import introvae.training.progress  # noqa: F401
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


def train(flags: list[str], out: Path, kind: int = 0, last: int = -1) -> tuple[int, list[int]]:
    """Train in a process; return its status, as os.waitpid does, and its number of moments of each kind."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        moments = Moments(kind, last)
        sys.settrace(moments)
        code = main([*flags, "--out", str(out)])
        os.write(writer, " ".join(map(str, moments.seen)).encode())
        os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        seen = [int(count) for count in pipe.read().split()]
    return os.waitpid(child, 0)[1], seen


def kill_and_continue(root: Path, kills: int, flags: list[str]) -> None:
    draws = random.Random(0)
    status, moments = train(flags, root / "whole" / "run")
    assert status == 0
    for number in range(kills):
        out, kind = root / str(number) / "run", number % 3
        status, _ = train(flags, out, kind, draws.randint(1, moments[kind]))
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        print(f"killed {number}:", *sorted(path.name for path in out.rglob("*")), flush=True)
        assert train(flags, out)[0] == 0


if __name__ == "__main__":
    kill_and_continue(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
