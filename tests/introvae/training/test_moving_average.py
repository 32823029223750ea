import copy
import math
from pathlib import Path

import pytest
import torch
from helpers import CPU, tiny_config

from introvae.data.image_set import ImageSet, to_float
from introvae.nn.networks import build
from introvae.runs.folder import load_checkpoint, save_checkpoint
from introvae.training.state import MovingAverage, State
from introvae.training.trainer import Trainer


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_the_average_is_the_formula(norm: str) -> None:
    """Decay min(d, (1 + t) / (10 + t)), for parameters; batch norm's statistics are measured instead."""
    model = build(tiny_config(norm=norm)).double()
    average = MovingAverage(model, 0.3)
    expected = copy.deepcopy(model.state_dict())
    for t in range(6):
        with torch.no_grad():
            for tensor in model.state_dict().values():
                tensor.add_(torch.ones_like(tensor))
        average.update(t)
        decay = min(0.3, (1 + t) / (10 + t))
        for name, value in model.named_parameters():
            expected[name] = decay * expected[name] + (1 - decay) * value.detach()
    for name, value in average.model.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-12, msg=name)


@pytest.fixture(scope="module")
def averaged(small_faces: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    """A run with a moving average, trained to its end."""
    trainer = Trainer(tiny_config(ema_decay=0.9), small_faces, tmp_path_factory.mktemp("averaged"), CPU)
    trainer.run()
    return trainer


def test_pictures_and_scores_see_the_average(averaged: Trainer, small_faces: ImageSet, tmp_path: Path) -> None:
    images = to_float(small_faces.validation[:4])
    assert averaged.evaluated is not averaged.model
    assert not torch.equal(averaged.evaluated.reconstruct(images), averaged.model.reconstruct(images))
    without = Trainer(tiny_config(ema_decay=0.0), small_faces, tmp_path / "without", CPU)
    assert without.evaluated is without.model


def test_training_is_the_same_with_and_without(averaged: Trainer, small_faces: ImageSet, tmp_path: Path) -> None:
    without = Trainer(tiny_config(ema_decay=0.0), small_faces, tmp_path, CPU)
    without.run()
    ends = [trainer.model.state_dict() for trainer in (averaged, without)]
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())


@pytest.mark.parametrize("kept", [True, False])
def test_the_average_resumes_exactly_and_not_without_its_state(
    kept: bool, averaged: Trainer, small_faces: ImageSet, tmp_path: Path
) -> None:
    config = averaged.config
    Trainer(config, small_faces, tmp_path / "cut", CPU).run(8)
    if not kept:
        state = load_checkpoint(tmp_path / "cut")
        assert state is not None
        save_checkpoint(tmp_path / "cut", state | {"average": state["model"]})
    cut = Trainer(config, small_faces, tmp_path / "cut", CPU)
    cut.run()
    ends = [trainer.evaluated.state_dict() for trainer in (averaged, cut)]
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items()) == kept


def test_a_long_average_follows_slowly() -> None:
    model = build(tiny_config())
    average = MovingAverage(model, 0.999)
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(1.0)
    before = next(average.model.parameters()).clone()
    average.update(10**6)
    after = next(average.model.parameters())
    assert torch.allclose(after, before + 0.001 * (1 - before))
    assert math.isclose(float((after - before).abs().max()), float(0.001 * (1 - before).abs().max()), rel_tol=1e-3)


def test_the_average_counts_from_0_again_after_the_warm_up() -> None:
    """The VAE of the warm-up is then soon forgotten, as initial weights are."""
    state = State(tiny_config(ema_decay=0.999, warmup_steps=8), CPU)
    assert state.average
    weights, averaged = (next(model.parameters()).data for model in state.models)
    weights.zero_()
    averaged.zero_()
    for _ in range(8):
        state.advance()
    assert not averaged.any()
    weights.fill_(1.0)
    state.advance()
    torch.testing.assert_close(averaged, torch.full_like(averaged, 0.9))  # 1 - (1 + t) / (10 + t) with t = 0
