"""Orders of network passes in other code, with the same losses and the same kind of update, for comparison.

Written from the counts of network passes alone. In units of one batch (forward, weight gradient, input gradient):

| order           | encoder | decoder | total |
|-----------------|---------|---------|-------|
| the authors'    | 5, 6, 6 | 2, 3, 3 | 25    |
| ours            | 5, 3, 5 | 2, 2, 3 | 20    |
| Soft-IntroVAE's | 5, 3, 5 | 8, 4, 7 | 32    |
| ours, soft      | 5, 3, 5 | 4, 2, 5 | 24    |
"""

import torch
from torch import Tensor, nn

from introvae.nn.networks import IntroVAE
from introvae.training.losses import exponential_elbo, hinge, kl_divergence, reconstruction_error, sample_posterior
from introvae.training.schedule import Weights
from introvae.training.step import Noise, Optimizers


class UncheckedAdam(torch.optim.Adam):
    """Adam whose updates autograd does not see.

    The authors' order backpropagates through weights that have been updated since. PyTorch 0.4 allowed that, and so
    their code ran; PyTorch 1.5 and later refuse it.
    """

    def __init__(self, network: nn.Module, lr: float, fused: bool = False) -> None:
        self.seen = list(network.parameters())
        self.unseen = [p.data for p in self.seen]  # the same memory, with a version counter of its own
        super().__init__(self.unseen, lr, fused=fused)

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for unseen, seen in zip(self.unseen, self.seen, strict=True):
            unseen.grad = seen.grad
        super().step(closure)


def authors_step(model: IntroVAE, optimizers: Optimizers, x: Tensor, noise: Noise, w: Weights) -> None:
    """Take a step as hhb072/IntroVAE: both losses are backpropagated through all they reach. Needs UncheckedAdam."""
    encoder, decoder = model.encoder, model.decoder
    model.zero_grad()
    mu, logvar = encoder(x)
    kl_real = kl_divergence(mu, logvar)
    x_r, x_p = decoder(sample_posterior(mu, logvar, noise.posterior)), decoder(noise.prior)
    kl_r, kl_p = (kl_divergence(*encoder(image.detach())) for image in (x_r, x_p))
    pushed = sum(hinge(kl if w.hinge == "sample" else kl.mean(), w.m) for kl in (kl_r, kl_p))
    error = reconstruction_error(x_r, x)
    loss_encoder = w.kl_weight * kl_real.mean() + w.alpha * pushed + w.beta * error.mean()
    loss_encoder.backward(retain_graph=True)
    optimizers.encoder.step()

    kl_r, kl_p = (kl_divergence(*encoder(image)) for image in (x_r, x_p))
    loss_decoder = w.alpha_decoder * (kl_r.mean() + kl_p.mean())
    loss_decoder.backward()  # on top of the decoder's gradient of beta L_AE, which is there already
    optimizers.decoder.step()


def soft_introvae_step(model: IntroVAE, optimizers: Optimizers, x: Tensor, noise: Noise, w: Weights) -> None:
    """Take a step as taldatech/soft-intro-vae-pytorch: two phases that share z alone; gamma_r's pass always runs."""
    encoder, decoder = model.encoder, model.decoder
    assert noise.fakes is not None
    decoder.requires_grad_(False)
    with torch.no_grad():
        fake = decoder(noise.prior)
    mu, logvar = encoder(x)
    z = sample_posterior(mu, logvar, noise.posterior)
    rec = decoder(z)
    loss = w.beta * reconstruction_error(rec, x).mean() + w.kl_weight * kl_divergence(mu, logvar).mean()
    loss = w.scale * loss
    for image, eps in zip((rec.detach(), fake), noise.fakes, strict=True):
        mu_s, logvar_s = encoder(image)
        own = decoder(sample_posterior(mu_s, logvar_s, eps))
        energy = w.beta * reconstruction_error(own, image) + w.beta_neg * kl_divergence(mu_s, logvar_s)
        loss = loss + w.alpha * exponential_elbo(w.scale * energy)
    encoder.zero_grad()
    loss.backward()
    optimizers.encoder.step()
    decoder.requires_grad_(True)

    encoder.requires_grad_(False)
    rec, fake = decoder(z.detach()), decoder(noise.prior)
    loss = w.beta * reconstruction_error(rec, x).mean()
    for image, eps in zip((rec, fake), noise.fakes, strict=True):
        mu_s, logvar_s = encoder(image)
        own = decoder(sample_posterior(mu_s, logvar_s, eps).detach())
        loss = loss + w.alpha_decoder * kl_divergence(mu_s, logvar_s).mean()
        loss = loss + w.gamma_r * w.beta * reconstruction_error(own, image.detach()).mean()
    decoder.zero_grad()
    (w.scale * loss).backward()
    optimizers.decoder.step()
    encoder.requires_grad_(True)
