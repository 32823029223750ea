"""Too little memory is one line that says what to lower."""

from pathlib import Path

import pytest
import torch
from helpers import script, tiny_flags

from introvae.commands.options import run_command
from introvae.runs.folder import load_checkpoint

MEMORY = """
import re, resource, sys
from pathlib import Path
import torch._dynamo, analysis.measures.score, introvae.training.progress
from analysis.train import main
used = int(re.search(r"VmSize:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (used + {mebibytes} * 2**20, resource.RLIM_INFINITY))
sys.exit(main(sys.argv[1:]))
"""


def test_a_step_without_enough_memory_says_to_halve_the_batch(tmp_path: Path) -> None:
    """2,048 images fit into a step of the warm-up, not into one of the adversarial phase."""
    flags = [*tiny_flags("batch_size", "steps", "warmup_steps"), "--steps", "6", "--warmup-steps", "4"]
    result = script("-c", MEMORY.format(mebibytes=370), *flags, "--batch-size", "2048", "--out", str(tmp_path / "a"))
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert result.stderr.splitlines()[-1] == (
        "introvae-train: out of memory on cpu in step 5 with --batch-size 2048: "
        "halve the batch, or use --precision bf16"
    )
    kept = load_checkpoint(tmp_path / "a")
    assert kept and kept["step"] == 4
    result = script("-c", MEMORY.format(mebibytes=370), *flags, "--batch-size", "1024", "--out", str(tmp_path / "b"))
    assert result.returncode == 0, result.stderr


def test_memory_short_outside_of_steps_is_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    def greedy() -> None:
        torch.empty(2**60)

    assert run_command("introvae-train", greedy) == 1
    assert capsys.readouterr().err == (
        "introvae-train: out of memory while reading, drawing or scoring images; free some, then rerun the same "
        "command\n"
    )


def test_networks_that_do_not_fit_are_measured(tmp_path: Path) -> None:
    flags = [*tiny_flags("widths"), "--widths", "8,65536", "--device", "cpu", "--out", str(tmp_path)]
    result = script("-c", MEMORY.format(mebibytes=370), *flags)
    assert result.returncode == 1
    assert result.stderr == (
        "introvae-train: out of memory on cpu: the networks, their gradients and Adam's state alone take "
        "2.88e+03 GiB; halving --widths takes that to about a quarter\n"
    )
