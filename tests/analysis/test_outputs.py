from dataclasses import replace

import torch

from analysis.outputs import outputs_of, scored_images
from introvae.data.image_set import ImageSet, to_float
from introvae.training.trainer import Trainer


def test_scored_images_are_evenly_spaced_and_at_most_1000(small_faces: ImageSet) -> None:
    assert torch.equal(scored_images(small_faces), to_float(small_faces.validation[:]))
    many = replace(small_faces, validation=small_faces.train[:].repeat(5, 1, 1, 1))
    scored = scored_images(many)
    assert len(scored) == 1000
    assert torch.equal(scored_images(many, on="test"), to_float(small_faces.test[:]))
    assert torch.equal(scored[-1], to_float(small_faces.train[-1:])[0])


def test_outputs_are_the_same_for_the_same_model(trained: Trainer, small_faces: ImageSet) -> None:
    real = scored_images(small_faces)
    found, again = outputs_of(trained.model, real), outputs_of(trained.model, real)
    mu, logvar = trained.model.encode(real)
    assert torch.equal(found.mu, mu) and torch.equal(found.logvar, logvar)
    assert torch.equal(found.reconstructions, trained.model.reconstruct(real)) and found.samples.shape == real.shape
    assert torch.equal(found.samples, again.samples)
    assert not torch.equal(found.samples[0], found.samples[1])
