"""Evaluation of batch normalization: in the mean it is what training saw, for weights and for their moving average."""

import copy
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from helpers import CPU, equal_states, tiny_config
from torch import Tensor, nn

import introvae
from introvae.data.batches import Batches
from introvae.data.image_set import ImageSet, to_float
from introvae.errors import UserError
from introvae.nn.batch_norm import BatchNorm, Kind
from introvae.nn.networks import IntroVAE
from introvae.randomness import normal
from introvae.runs.folder import load_checkpoint, save_checkpoint
from introvae.training.batch_statistics import BATCHES, measure_statistics
from introvae.training.device import adam
from introvae.training.losses import kl_divergence, sample_posterior
from introvae.training.schedule import weights_at
from introvae.training.state import MovingAverage, build_model
from introvae.training.step import Noise, Optimizers, train_step
from introvae.training.trainer import Trainer

CONFIG = tiny_config(norm="batch", beta=100.0, m=100.0, steps=120, warmup_steps=0)
AGREE, DIFFER = 0.04, 0.08  # shares of a mean


class Models(NamedTuple):
    weights: IntroVAE
    average: IntroVAE


def draws(images: ImageSet, first: int, count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of training images with noise for their z and for samples."""
    batches = Batches(images.train, CONFIG.batch_size, True, CPU)
    for index in range(first, first + count):
        noise = normal((2, CONFIG.batch_size, CONFIG.latent), 0, "prior", index)
        yield batches(0, index).contiguous(memory_format=torch.channels_last), noise


def give_plain_norms(module: nn.Module) -> None:
    """Replace each batch norm by PyTorch's, whose one set of running statistics mixes all kinds of images."""
    for name, child in module.named_children():
        if isinstance(child, BatchNorm):
            setattr(module, name, nn.BatchNorm2d(len(child.weight)))
        give_plain_norms(child)


def trained(images: ImageSet, plain: bool) -> Models:
    """Train CONFIG; with plain norms their running statistics are averaged along with the weights."""
    model = build_model(CONFIG, CPU)
    if plain:
        give_plain_norms(model)
    model.train()
    average = MovingAverage(model, 0.98)
    optimizers = Optimizers(adam(model.encoder, CONFIG.lr), adam(model.decoder, CONFIG.lr))
    for step, (x, noise) in enumerate(draws(images, 0, CONFIG.steps)):
        train_step(model, optimizers, x, Noise(*noise), weights_at(CONFIG, step))
        average.update(step)
        if plain:
            weight = 1 - min(average.decay, (1 + step) / (10 + step))
            pairs = zip(average.model.buffers(), model.buffers(), strict=True)
            own, new = zip(*((a, b) for a, b in pairs if a.is_floating_point()), strict=True)
            torch._foreach_lerp_(own, new, weight)
    return Models(model, average.model)


@pytest.fixture(scope="module")
def ours(small_faces: ImageSet) -> Models:
    models = trained(small_faces, plain=False)
    measure_statistics(models, draws(small_faces, 1000, BATCHES))
    return models


@pytest.fixture(scope="module")
def mixed(small_faces: ImageSet) -> Models:
    return trained(small_faces, plain=True)


@torch.no_grad()
def means(model: IntroVAE, images: ImageSet, training: bool) -> Tensor:
    """Mean KL of real images, reconstructions and samples, and mean pixel of the latter two."""
    model = copy.deepcopy(model).train()  # whose plain norms would go on tracking
    encode: Callable[[Tensor, Kind], Any] = (lambda x, _: model.encoder(x)) if training else model.encode
    decode: Callable[[Tensor, Kind], Any] = (lambda z, _: model.decoder(z)) if training else model.decode
    rows = []
    for x, noise in draws(images, 2000, 40):
        mu, logvar = encode(x, "real")
        reconstructions = decode(sample_posterior(mu, logvar, noise[0]), "reconstruction")
        samples = decode(noise[1], "sample")
        energies = [(mu, logvar), encode(reconstructions, "reconstruction"), encode(samples, "sample")]
        values = [kl_divergence(*q).mean() for q in energies]
        rows.append(torch.stack([*values, reconstructions.mean(), samples.mean()]))
    return torch.stack(rows).mean(0)


def disagreement(model: IntroVAE, images: ImageSet) -> float:
    """The largest difference between evaluation and training, as a share of what training sees."""
    evaluation, training = means(model, images, False), means(model, images, True)
    return (evaluation / training - 1).abs().max().item()


@pytest.mark.parametrize("which", Models._fields)
def test_evaluation_agrees_with_training(which: str, ours: Models, small_faces: ImageSet) -> None:
    assert disagreement(getattr(ours, which), small_faces) < AGREE


@pytest.mark.parametrize("which", Models._fields)
def test_mixed_statistics_disagree_with_training(which: str, mixed: Models, small_faces: ImageSet) -> None:
    assert disagreement(getattr(mixed, which), small_faces) > DIFFER


@pytest.mark.parametrize("which", Models._fields)
def test_statistics_of_another_kind_disagree_with_training(which: str, ours: Models, small_faces: ImageSet) -> None:
    model = copy.deepcopy(getattr(ours, which))
    for norm in (module for module in model.encoder.modules() if isinstance(module, BatchNorm)):
        norm.mean.copy_(norm.mean[[0, 0, 0]])
        norm.variance.copy_(norm.variance[[0, 0, 0]])
    assert disagreement(model, small_faces) > DIFFER


def test_weights_are_those_of_pytorch_s_batch_norm_bit_for_bit(ours: Models, mixed: Models) -> None:
    for a, b in zip(ours, mixed, strict=True):
        assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_statistics_are_means_over_batches(ours: Models, small_faces: ImageSet) -> None:
    """An encoder's first norm sees maps that the images alone decide."""
    encoder = ours.weights.encoder
    convolution, norm, *_ = encoder.features[0].children()
    with torch.no_grad():
        images = (x for x, _ in draws(small_faces, 1000, BATCHES))
        maps = [convolution(nn.functional.pad(x, encoder.padding)) for x in images]
    pairs = [torch.var_mean(each, (0, 2, 3)) for each in maps]
    assert isinstance(norm, BatchNorm)
    torch.testing.assert_close(norm.variance[0], torch.stack([variance for variance, _ in pairs]).mean(0))
    torch.testing.assert_close(norm.mean[0], torch.stack([mean for _, mean in pairs]).mean(0))


TINY = tiny_config(norm="batch")


@pytest.fixture(scope="module")
def few_batches() -> Iterator[None]:
    """Trainers measure on fewer batches than they would."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("introvae.training.trainer.BATCHES", 3)
        yield


@pytest.fixture(scope="module")
def whole(few_batches: None, small_faces: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    trainer = Trainer(TINY, small_faces, tmp_path_factory.mktemp("whole"), CPU)
    trainer.run()
    return trainer


@pytest.mark.parametrize("until", [8, 10])
def test_a_resumed_run_has_the_same_statistics(
    until: int, whole: Trainer, small_faces: ImageSet, tmp_path: Path
) -> None:
    Trainer(TINY, small_faces, tmp_path, CPU).run(until)
    cut = Trainer(TINY, small_faces, tmp_path, CPU)
    kept = load_checkpoint(tmp_path)
    assert equal_states(cut.evaluated.state_dict(), kept and kept["average"])
    cut.run()
    assert equal_states(cut.state.as_dict(), whole.state.as_dict())
    assert equal_states(load_checkpoint(tmp_path), load_checkpoint(whole.folder))


def test_statistics_are_measured_whenever_the_model_is_looked_at(
    whole: Trainer, small_faces: ImageSet, tmp_path: Path
) -> None:
    trainer = Trainer(TINY, small_faces, tmp_path, CPU)
    seen: list[dict[str, Tensor]] = []
    trainer.run(on_log=lambda _: seen.append(copy.deepcopy(trainer.evaluated.state_dict())))
    name = next(name for name in seen[0] if name.endswith(".mean"))
    assert len({tuple(state[name].flatten().tolist()) for state in seen}) == len(seen) == 10
    assert equal_states(trainer.state.as_dict(), whole.state.as_dict())  # which looking has not changed


def test_a_loaded_run_is_evaluated_as_its_trainer_is(whole: Trainer, small_faces: ImageSet) -> None:
    model, images = introvae.load_run(whole.folder, "cpu"), to_float(small_faces.validation[:4])
    for kind in ("real", "reconstruction", "sample"):
        assert torch.equal(model.encode(images, kind)[0], whole.evaluated.encode(images, kind)[0])
    assert not torch.equal(model.encode(images)[0], model.encode(images, "sample")[0])
    assert torch.equal(model.reconstruct(images), model.decode(model.encode(images)[0]))
    noise = normal((3, TINY.latent), 5, "samples")
    assert torch.equal(model.sample(3, seed=5), model.decode(noise, "sample"))
    assert not torch.equal(model.decode(noise), model.decode(noise, "sample"))


@pytest.fixture
def outdated(whole: Trainer, tmp_path: Path) -> Path:
    """A run as an earlier version wrote it, with one set of statistics of shape (C,)."""
    Trainer(TINY, whole.images, tmp_path, CPU)
    state = load_checkpoint(whole.folder)
    assert state
    for part in ("model", "average"):
        for name in [name for name in state[part] if name.endswith(".variance")]:
            prefix = name.removesuffix("variance")
            state[part][f"{prefix}running_mean"] = state[part].pop(f"{prefix}mean")[0]
            state[part][f"{prefix}running_var"] = state[part].pop(name)[0]
            state[part][f"{prefix}num_batches_tracked"] = torch.tensor(20)
    save_checkpoint(tmp_path, state)
    return tmp_path


def test_a_run_with_mixed_statistics_is_refused(outdated: Path, small_faces: ImageSet) -> None:
    reason = "an earlier version mixed the batch statistics of real images and fakes; train it again"
    for use in (introvae.load_run, partial(Trainer, TINY, small_faces, device=CPU)):
        with pytest.raises(UserError) as refused:
            use(outdated)
        assert str(outdated) in str(refused.value) and reason in str(refused.value)
        assert "\n" not in str(refused.value)
