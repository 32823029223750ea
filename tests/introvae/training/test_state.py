"""Checkpoints of others: what is no state of this package is refused in one line, whatever it holds."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import exit_code, tiny_config
from studies import make_run

import introvae
from analysis.train import main as train
from introvae.commands.export import main as export
from introvae.commands.sample import main as sample
from introvae.errors import UserError
from introvae.runs.folder import save_checkpoint
from introvae.training.state import State

FOREIGN: dict[str, dict[str, Any]] = {
    "no model": {},
    "model no table": {"model": [1.0]},
    "model a number": {"model": 5},
    "names that are numbers": {"model": {0: torch.zeros(2)}},
    "values that are no tensors": {"model": {"encoder.head.weight": 1.0}},
    "average none": {"model": {}, "average": None},
    "optimizers no tables": {"model": None, "encoder": 1, "decoder": None},
}
COMMANDS: dict[str, tuple[Callable[[list[str]], int], list[str]]] = {
    "sample": (sample, ["run", "--out", "given.png"]),
    "export": (export, ["run", "--out", "given"]),
    "train": (train, ["--from", "run", "--lr", "0.01", "--steps", "4", "--device", "cpu", "--out", "given"]),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("case", FOREIGN)
def test_it_is_refused_in_one_line(
    case: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save_checkpoint(make_run(Path("run")), {"step": 20, **FOREIGN[case]})
    main, words = COMMANDS[command]
    assert exit_code(main, words) == 2
    said = "run cannot be used: its checkpoint holds no weights of this package; train it again"
    assert capsys.readouterr().err.splitlines()[-1] == f"introvae-{command}: {said}"
    assert not list(Path().glob("given*/run"))


def test_a_network_of_other_shapes_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    save_checkpoint(run, State(tiny_config(latent=4, channels=1), torch.device("cpu")).as_dict())
    with pytest.raises(UserError, match="have other shapes than its settings say"):
        introvae.load_run(run, "cpu")
    shutil.rmtree(run)
    with pytest.raises(UserError, match="there is no run"):
        introvae.load_run(run, "cpu")
