"""Too little memory is one line that says what to lower."""

import json
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from helpers import ROOT, script, tiny_flags

from introvae.commands.options import run_command
from introvae.runs.folder import load_checkpoint

MEBIBYTES = "360"  # enough for 2,048 images in a step of the warm-up, not in one of the adversarial phase
SHORT = [
    *tiny_flags("batch_size", "steps", "warmup_steps", "log_every", "checkpoint_every", "picture_every"),
    *("--steps", "2", "--warmup-steps", "1", "--log-every", "1", "--checkpoint-every", "1", "--picture-every", "1"),
]
COMMANDS = {
    "2048": [*SHORT, "--batch-size", "2048"],
    "1024": [*SHORT, "--batch-size", "1024"],
    "wide": [*tiny_flags("widths"), "--widths", "8,65536"],
}


class Ended(NamedTuple):
    code: int
    stderr: str
    folder: Path


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """The commands after they have run with little memory left."""
    root = tmp_path_factory.mktemp("memory")
    commands = [[*flags, "--out", str(root / name)] for name, flags in COMMANDS.items()]
    result = script(str(ROOT / "tests/support/limited.py"), MEBIBYTES, json.dumps(commands))
    assert result.returncode == 0, result.stderr
    found = zip(COMMANDS, json.loads(result.stdout), strict=True)
    return {name: Ended(code, stderr, root / name) for name, (code, stderr) in found}


@pytest.mark.slow
def test_a_step_without_enough_memory_says_to_halve_the_batch(ended: dict[str, Ended]) -> None:
    code, stderr, folder = ended["2048"]
    assert code == 1 and "Traceback" not in stderr
    assert stderr.splitlines()[-1] == (
        "introvae-train: out of memory on cpu in step 2 with --batch-size 2048: "
        "halve the batch, or use --precision bf16"
    )
    kept = load_checkpoint(folder)
    assert kept and kept["step"] == 1
    assert ended["1024"].code == 0, ended["1024"].stderr


def test_memory_short_outside_of_steps_is_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    def greedy() -> None:
        torch.empty(2**60)

    assert run_command("introvae-train", greedy) == 1
    assert capsys.readouterr().err == (
        "introvae-train: out of memory while reading, drawing or scoring images; free some, then rerun the same "
        "command\n"
    )


@pytest.mark.slow
def test_networks_that_do_not_fit_are_measured(ended: dict[str, Ended]) -> None:
    code, stderr, _ = ended["wide"]
    assert code == 1
    assert stderr == (
        "introvae-train: out of memory on cpu: the networks, their gradients and Adam's state alone take "
        "2.88e+03 GiB; halving --widths takes that to about a quarter\n"
    )
