"""Training steps that are replayed as CUDA graphs."""

from pathlib import Path

import pytest
import torch
from helpers import CPU, tiny_config

import introvae.training.graphs
from introvae.data.image_set import ImageSet
from introvae.training.trainer import Trainer

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


@pytest.mark.parametrize(
    "settings", [{}, {"norm": "batch"}, {"objective": "soft", "gamma_r": 1e-8}, {"precision": "bf16"}]
)
def test_replayed_steps_are_the_steps(
    settings: dict[str, object], small_faces: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(steps=40, warmup_steps=20, **settings)
    graphed = Trainer(config, small_faces, tmp_path / "graphed", torch.device("cuda"))
    graphed.run()
    monkeypatch.setattr(introvae.training.graphs, "EAGER", 100)
    eager = Trainer(config, small_faces, tmp_path / "eager", torch.device("cuda"))
    eager.run()
    for a, b in zip(graphed.model.state_dict().values(), eager.model.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=0.02, atol=0.005)


def test_a_run_begun_on_a_gpu_continues_on_a_cpu(small_faces: ImageSet, tmp_path: Path) -> None:
    Trainer(tiny_config(), small_faces, tmp_path, torch.device("cuda")).run(10)
    trainer = Trainer(tiny_config(), small_faces, tmp_path, CPU)
    assert trainer.step == 10
    trainer.run()
