"""Measurement of batch normalization's statistics for weights as they are (`introvae.nn.batch_norm`)."""

from collections.abc import Iterable

import torch
from torch import Tensor

from introvae.nn.batch_norm import KINDS, measuring
from introvae.nn.networks import IntroVAE
from introvae.training.losses import sample_posterior

BATCHES = 20  # in a measurement; twice as many agree no better with training


@torch.no_grad()
def measure_statistics(models: Iterable[IntroVAE], draws: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Set each kind's statistics to the means over some batches, which go through the networks as in training.

    Args:
        models: The models to measure. Their weights stay as they are.
        draws: For each batch the images, float (N, C, S, S) in [0, 1], and the noise of their z and of samples,
            (2, N, z).
    """
    real, reconstruction, sample = KINDS
    models = list(models)
    for batch, (x, (posterior, prior)) in enumerate(draws, 1):
        for model in models:
            encoder, decoder = model.encoder, model.decoder
            with measuring(encoder, real, batch):  # `forward` itself, as the passes are not those that are compiled
                mu, logvar = encoder.forward(x)
            for kind, z in ((reconstruction, sample_posterior(mu, logvar, posterior)), (sample, prior)):
                with measuring(decoder, kind, batch):
                    images = decoder.forward(z)
                with measuring(encoder, kind, batch):
                    encoder.forward(images)
