"""The fast step against Algorithm 1, and what it costs."""

import copy
from dataclasses import replace

import pytest
import torch
import twin
from steps import BATCH, INTROVAE, SOFT, VAE, count_passes, draws, make, passes
from torch import Tensor

from introvae.config import TrainConfig
from introvae.nn.networks import IntroVAE
from introvae.presets import load_preset
from introvae.training.device import autocast
from introvae.training.schedule import Weights, weights_at
from introvae.training.step import Noise, Terms, train_step

NORMS = ("group", "batch", "none")


def typical_energy(model: IntroVAE) -> float:
    """A margin that lies among the energies of a new model's samples."""
    probe = copy.deepcopy(model)
    with torch.no_grad():
        return twin.energy(*probe.encoder(probe.decoder(draws(0)[1].prior))).quantile(0.5).item()


def state(model: IntroVAE) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("hinge", ["sample", "batch"])
@pytest.mark.parametrize("norm", NORMS)
def test_fast_step_equals_algorithm_1(norm: str, hinge: str) -> None:
    fast, optimizers = make(norm)
    slow, slow_optimizers = make(norm)
    m = typical_energy(fast)
    weights = Weights(**vars(INTROVAE) | {"hinge": hinge, "m": m})
    active = 0
    for step in range(5):
        terms = train_step(fast, optimizers, *draws(step), weights)
        assert terms.kl_sample is not None
        active += int((terms.kl_sample < m).sum())
        twin.algorithm_1(slow, slow_optimizers, *draws(step), weights)
    assert 0 < active < 5 * BATCH  # the margin was on both sides: the hinge took part
    for name, value in state(slow).items():
        torch.testing.assert_close(fast.state_dict()[name], value, rtol=0, atol=1e-12, msg=name)


def test_twin_notices_a_wrong_update() -> None:
    """The comparison can fail: the decoder's alpha is the smallest thing that could be forgotten."""
    fast, optimizers = make("group")
    slow, slow_optimizers = make("group")
    train_step(fast, optimizers, *draws(0), Weights(**vars(INTROVAE) | {"alpha_decoder": 0.3}))
    twin.algorithm_1(slow, slow_optimizers, *draws(0), INTROVAE)
    encoders = zip(fast.encoder.parameters(), slow.encoder.parameters(), strict=True)
    assert all(torch.allclose(a, b, rtol=0, atol=1e-12) for a, b in encoders)
    decoders = zip(fast.decoder.parameters(), slow.decoder.parameters(), strict=True)
    assert any(not torch.allclose(a, b, rtol=0, atol=1e-6) for a, b in decoders)


@pytest.mark.parametrize("norm", NORMS)
def test_alpha_0_is_the_vae_bit_for_bit(norm: str) -> None:
    fast, optimizers = make(norm, torch.float32)
    slow, slow_optimizers = make(norm, torch.float32)
    for step in range(5):
        x, noise = draws(step, torch.float32)
        train_step(fast, optimizers, x, Noise(noise.posterior), VAE)
        twin.vae(slow, slow_optimizers, x, noise, VAE)
    assert all(torch.equal(fast.state_dict()[name], value) for name, value in state(slow).items())


def test_autoencoder_leaves_the_kl_alone() -> None:
    model, optimizers = make("group")
    x, noise = draws(0)
    train_step(
        model, optimizers, x, Noise(torch.zeros_like(noise.posterior)), Weights(**vars(VAE) | {"kl_weight": 0.0})
    )
    reference, reference_optimizers = make("group")
    error = twin.squared_error(reference.decoder(reference.encoder(x)[0]), x)
    (VAE.beta * error).backward()
    for optimizer in reference_optimizers:
        optimizer.step()
    for a, b in zip(model.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("gamma_r", [0.0, 0.3])
@pytest.mark.parametrize("norm", NORMS)
def test_fast_soft_step_equals_its_definition(norm: str, gamma_r: float) -> None:
    weights = replace(SOFT, gamma_r=gamma_r)
    fast, optimizers = make(norm)
    slow, slow_optimizers = make(norm)
    for step in range(5):
        train_step(fast, optimizers, *draws(step), weights)
        twin.soft_introvae(slow, slow_optimizers, *draws(step), weights)
    for name, value in state(slow).items():
        torch.testing.assert_close(fast.state_dict()[name], value, rtol=0, atol=1e-12, msg=name)


@pytest.mark.parametrize(("changes", "theirs"), [
    ({}, (1.0, 1.0, 256.0, 1e-8)),
    ({"kl_weight": 0.5, "alpha_decoder": 0.25, "beta": 1.6, "beta_neg": 9.0, "gamma_r": 0.1}, (0.5, 0.8, 9.0, 0.2)),
])  # fmt: skip
def test_soft_introvaes_weights_translate_into_ours(changes: dict[str, float], theirs: tuple[float, ...]) -> None:
    """Losses of the preset and of another setting are those of taldatech/soft-intro-vae-pytorch, written out."""
    beta_kl, beta_rec, beta_neg, gamma_r = theirs
    small = {"channels": 1, "image_size": 16, "widths": [8, 12]}
    config = TrainConfig.from_dict(load_preset("soft-cifar10") | small | changes)
    model, optimizers = make("group")
    for optimizer in optimizers:
        optimizer.param_groups[0]["lr"] = 0.0  # both losses are of the same encoder
    x, noise = draws(0)
    scale = 1 / x[0].numel()  # over C, H and W
    terms = train_step(model, optimizers, x, noise, weights_at(config, 0))

    def decoded(image: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """Return the squared error of an image's reconstruction, not halved, and its KL, each (N,)."""
        mu, logvar = model.encoder(image)
        kl = -0.5 * (1 + logvar - logvar.exp() - mu**2).sum(1)
        return ((model.decoder(mu + (0.5 * logvar).exp() * eps) - image) ** 2).sum((1, 2, 3)), kl

    assert noise.prior is not None and noise.fakes is not None
    with torch.no_grad():
        mu, logvar = model.encoder(x)
        rec = model.decoder(mu + (0.5 * logvar).exp() * noise.posterior)
        error, kl = (each.mean() for each in decoded(x, noise.posterior))
        fakes = [decoded(image, eps) for image, eps in zip((rec, model.decoder(noise.prior)), noise.fakes, strict=True)]
    exponents = [(-2 * scale * (beta_rec * own + beta_neg * kl_s)).exp().mean() for own, kl_s in fakes]
    loss_encoder = scale * (beta_rec * error + beta_kl * kl) + 0.25 * sum(exponents)
    kls, errors = sum(kl_s.mean() for _, kl_s in fakes), sum(own.mean() for own, _ in fakes)
    loss_decoder = scale * (beta_rec * error + 0.5 * beta_kl * kls + gamma_r * 0.5 * beta_rec * errors)
    torch.testing.assert_close(terms.loss_encoder, loss_encoder, rtol=1e-12, atol=0)
    torch.testing.assert_close(terms.loss_decoder, loss_decoder, rtol=1e-12, atol=0)


@pytest.mark.parametrize("change", [{"beta_neg": 2.9}, {"scale": 0.021}, {"gamma_r": 0.01}, {"alpha": 0.49}])
def test_every_weight_of_the_soft_objective_counts(change: dict[str, float]) -> None:
    ends = []
    for weights in (SOFT, replace(SOFT, **change)):  # type: ignore[arg-type]
        model, optimizers = make("group")
        for step in range(2):
            train_step(model, optimizers, *draws(step), weights)
        ends.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert (ends[0] - ends[1]).abs().max() > 1e-7


@pytest.mark.parametrize("weights", [INTROVAE, SOFT, VAE])
@pytest.mark.parametrize("norm", ["group", "batch"])
def test_activation_checkpointing_changes_nothing(norm: str, weights: Weights) -> None:
    ends = []
    for recompute in (False, True):
        model, optimizers = make(norm, activation_checkpointing=recompute)
        for step in range(3):
            train_step(model, optimizers, *draws(step), weights)
        ends.append(state(model))
    for name, value in ends[0].items():
        torch.testing.assert_close(ends[1][name], value, rtol=0, atol=1e-12, msg=name)


def test_losses_reported_are_those_of_the_paper() -> None:
    model, optimizers = make("none")
    reference = copy.deepcopy(model)
    x, noise = draws(0)
    terms = train_step(model, optimizers, x, noise, INTROVAE)
    with torch.no_grad():
        mu, logvar = reference.encoder(x)
        x_r, x_p = (reference.decoder(z) for z in (mu + torch.exp(0.5 * logvar) * noise.posterior, noise.prior))
        energies = [twin.energy(*reference.encoder(image)) for image in (x_r, x_p)]
        after = [twin.energy(*model.encoder(image)).mean() for image in (x_r, x_p)]
    l_ae = INTROVAE.beta * twin.squared_error(x_r, x)
    pushed = sum(twin.margin(kl, INTROVAE) for kl in energies)
    loss_encoder = INTROVAE.kl_weight * twin.energy(mu, logvar).mean() + INTROVAE.alpha * pushed + l_ae
    torch.testing.assert_close(terms.loss_encoder, loss_encoder)
    torch.testing.assert_close(terms.loss_decoder, INTROVAE.alpha_decoder * sum(after) + l_ae)
    torch.testing.assert_close(terms.kl_reconstruction, energies[0])
    torch.testing.assert_close(terms.kl_sample, energies[1])
    assert not any(term.requires_grad for term in terms if term is not None)


@pytest.mark.parametrize("norm", NORMS)
def test_passes_of_a_step(norm: str) -> None:
    assert count_passes(norm, INTROVAE) == passes((5, 3, 5), (2, 2, 3))


def test_passes_of_a_soft_step() -> None:
    assert count_passes("group", SOFT) == passes((5, 3, 5), (4, 2, 5))


def test_gamma_r_costs_two_decodings() -> None:
    assert count_passes("group", replace(SOFT, gamma_r=0.1)) == passes((5, 3, 5), (6, 4, 7))


def test_activation_checkpointing_costs_a_forward_pass_for_each_backward_pass() -> None:
    assert count_passes("group", INTROVAE, activation_checkpointing=True) == passes((10, 3, 5), (5, 2, 3))


def test_passes_of_a_vae_step() -> None:
    """Nothing of the fakes is computed."""
    assert count_passes("group", VAE) == passes((1, 1, 1), (1, 1, 1))


def test_samples_need_their_noise() -> None:
    model, optimizers = make("none")
    x, noise = draws(0)
    with pytest.raises(ValueError, match=r"noise\.prior"):
        train_step(model, optimizers, x, Noise(noise.posterior), INTROVAE)
    with pytest.raises(ValueError, match=r"noise\.fakes"):
        train_step(model, optimizers, x, noise._replace(fakes=None), SOFT)


def finite(terms: Terms) -> bool:
    return all(bool(term.isfinite().all()) for term in terms if term is not None)


@pytest.mark.parametrize("weights", [INTROVAE, SOFT, VAE])
def test_a_step_runs_on_meta_tensors(weights: Weights) -> None:
    """Nothing in the step is left on another device, and nothing waits for a value."""
    model, optimizers = make("group", torch.float32, "meta")
    terms = train_step(model, optimizers, *draws(0, torch.float32, "meta"), weights)
    assert terms.loss_encoder.device.type == "meta"


@pytest.mark.parametrize("weights", [INTROVAE, SOFT, VAE])
@pytest.mark.parametrize("norm", ["group", "batch"])
def test_a_step_runs_under_bf16_autocast(norm: str, weights: Weights) -> None:
    model, optimizers = make(norm, torch.float32)
    before = state(model)
    with autocast(torch.device("cpu"), "bf16"):
        terms = train_step(model, optimizers, *draws(0, torch.float32), weights)
    assert finite(terms) and terms.kl_real.dtype == terms.reconstruction.dtype == torch.float32
    assert all(value.dtype == torch.float32 for value in model.state_dict().values())
    assert any(not torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_under_autocast_the_decoder_sees_the_updated_encoder() -> None:
    model, optimizers = make("group", torch.float32)
    for group in optimizers.encoder.param_groups:
        group["lr"] = 0.3  # so that the update shows in bfloat16
    x, noise = draws(0, torch.float32)
    start = copy.deepcopy(model)
    with autocast(torch.device("cpu"), "bf16"):
        terms = train_step(model, optimizers, x, noise, INTROVAE)
        with torch.no_grad():
            mu, logvar = start.encoder(x)
            fakes = (start.decoder(mu + torch.exp(0.5 * logvar) * noise.posterior), start.decoder(noise.prior))
            updated, stale = (
                INTROVAE.alpha_decoder * sum(twin.energy(*encoder(image)).mean() for image in fakes)
                for encoder in (model.encoder, start.encoder)
            )
    adversarial = terms.loss_decoder - INTROVAE.beta * terms.reconstruction.mean()
    assert abs(float(updated) / float(stale) - 1) > 0.5
    assert adversarial.item() == pytest.approx(float(updated), rel=0.05)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_equals_the_cpu() -> None:
    cpu, cpu_optimizers = make("group")
    gpu, gpu_optimizers = make("group", device="cuda")
    for step in range(3):
        train_step(cpu, cpu_optimizers, *draws(step), INTROVAE)
        train_step(gpu, gpu_optimizers, *draws(step, device="cuda"), INTROVAE)
    for a, b in zip(cpu.parameters(), gpu.parameters(), strict=True):
        torch.testing.assert_close(a, b.cpu(), rtol=0, atol=1e-8)
