"""Training steps that are replayed as CUDA graphs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import CPU, tiny_config

import introvae.training.graphs
from introvae.data.image_set import ImageSet, to_float
from introvae.training.graphs import GraphedStep
from introvae.training.schedule import weights_at
from introvae.training.state import State
from introvae.training.step import Noise
from introvae.training.trainer import Trainer

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def test_weights_that_come_again_but_do_not_last_are_not_recorded(
    small_faces: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A schedule that goes up and down would otherwise fill the device with a graph for each of its values."""
    recorded = []

    class Graph:
        def __init__(self) -> None:
            recorded.append(self)

        def replay(self) -> None:
            pass

    @contextmanager
    def recording(*_: Any, **__: Any) -> Iterator[None]:
        yield

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", recording)
    waves = tuple((2 * turn, float(turn % 2)) for turn in range(11))  # 0, 0.5, 1, 0.5, 0, ..., then 0 for ever
    config = tiny_config(kl_weight=waves, warmup_steps=26, steps=26)
    state = State(config, CPU)
    step = GraphedStep(state.model, state.optimizers)
    x, noise = to_float(small_faces.train[:8]), Noise(torch.zeros(8, config.latent))
    found = []
    for number in range(26):
        step(x, noise, weights_at(config, number))
        found.append(len(recorded))
    assert found == [0] * 23 + [1] * 3


@pytest.mark.gpu
@needs_cuda
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


@pytest.mark.gpu
@needs_cuda
def test_a_run_begun_on_a_gpu_continues_on_a_cpu(small_faces: ImageSet, tmp_path: Path) -> None:
    Trainer(tiny_config(), small_faces, tmp_path, torch.device("cuda")).run(10)
    trainer = Trainer(tiny_config(), small_faces, tmp_path, CPU)
    assert trainer.step == 10
    trainer.run()
