"""The record of a run that is measured."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import CPU, tiny_config
from studies import CHEAP, THOROUGH
from torch import Tensor

from analysis.evaluate import finish, score_run
from analysis.measures import collapse, reconstruction, sharpness
from analysis.measures import novelty as diversity
from analysis.measures.distance import sliced_wasserstein
from analysis.measures.run_measures import DIRECTIONS, PATCHES
from analysis.measures.score import score_images
from analysis.measures.spectrum import eigenvalues, predicted_active_units, predicted_kl
from analysis.outputs import outputs_of, scored_images
from introvae.config import TrainConfig
from introvae.data.image_set import ImageSet
from introvae.nn.networks import IntroVAE, build
from introvae.runs.record import RunRecord, RunState, read_record
from introvae.training.trainer import Trainer


@pytest.fixture
def spectrum(small_faces: ImageSet) -> Tensor:
    return eigenvalues(small_faces.train)


def measured(model: IntroVAE, images: ImageSet, config: TrainConfig, folder: Path, **given: Any) -> RunRecord:
    folder.mkdir(exist_ok=True)
    return finish(folder, config, images, model, **given)


def test_a_run_is_measured(trained: Trainer, small_faces: ImageSet, spectrum: Tensor) -> None:
    real, config = scored_images(small_faces), trained.config
    record = measured(trained.model, small_faces, config, trained.folder, spectrum=spectrum, vae_kl=5.0)
    shown = outputs_of(trained.model, real)
    reconstructions, samples, mu, logvar = shown.reconstructions, shown.samples, shown.mu, shown.logvar
    assert record.scores == score_images(real, reconstructions, samples)
    assert record == read_record(trained.folder)
    unseen = scored_images(small_faces, on="test")
    tested = outputs_of(trained.model, unseen, "test")
    assert not torch.equal(tested.samples, samples)  # nor is their noise
    assert record.test == score_images(unseen, tested.reconstructions, tested.samples) != record.scores
    measures = record.measures
    assert measures.keys() == CHEAP | THOROUGH
    assert json.loads(json.dumps(measures, allow_nan=False)) == measures
    assert measures["ssim"] == reconstruction.ssim(real, reconstructions)
    ratio = sharpness.laplacian_variance(samples) / sharpness.laplacian_variance(real)
    assert measures["sharpness_samples"] == pytest.approx(ratio)
    assert measures["blur_effect_samples"] == sharpness.blur_effect(samples)
    assert sum(measures["kl_per_dimension"]) == pytest.approx(measures["kl"], rel=1e-4)
    for name, length in (("kl_per_dimension", 8), ("decoder_sensitivity", 8), ("power_spectrum_samples", 9)):
        assert len(measures[name]) == length
    assert [len(values) for values in measures["kl_quantiles"].values()] == [8] * 3
    assert measures["mutual_information"] <= measures["mutual_information_bound"] == math.log(80)
    assert measures["inside_margin_real"] == collapse.inside_margin(mu, logvar, config.m)
    encoded = trained.model.encode(samples)
    assert measures["kl_samples"] == pytest.approx(collapse.kl_per_dimension(*encoded).sum().item())
    assert measures["nearest_training"] == diversity.nearest_training(real, samples, small_faces.train)
    assert measures["swd_reference"] == sliced_wasserstein(real, samples, DIRECTIONS, PATCHES)[1].value
    assert measures["vae_kl"] == pytest.approx(5.0)
    assert measures["predicted_kl"] == predicted_kl(spectrum, 20.0, 8)
    assert measures["predicted_active_units"] == predicted_active_units(spectrum, 20.0, 8)
    assert measures["spectrum"] == pytest.approx(spectrum[:8].tolist(), rel=1e-5)
    assert measures["collapse_beta"] == 1 / spectrum[0] and measures["scored_images"] == 80


def test_a_pruned_trial_has_the_quick_measures_only(trained: Trainer, small_faces: ImageSet, tmp_path: Path) -> None:
    whole, pruned = (
        measured(trained.model, small_faces, trained.config, tmp_path / state, state=state)
        for state in (RunState.COMPLETE, RunState.PRUNED)
    )
    assert pruned.measures == {name: whole.measures[name] for name in CHEAP - {"vae_kl"}}  # there is no warm-up
    assert whole.test and pruned.test is None
    assert not list((tmp_path / "pruned").glob("**/*.png"))


def test_a_pruned_trial_is_scored_on_the_images_that_it_was_compared_by(
    trained: Trainer, small_faces: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.evaluate.MOST_AT_RUNGS", 20)
    record = measured(trained.evaluated, small_faces, trained.config, tmp_path, state=RunState.PRUNED)
    outputs = outputs_of(trained.evaluated, scored_images(small_faces, 20))
    expected = score_images(outputs.real, outputs.reconstructions, outputs.samples)
    assert record.measures["scored_images"] == 20 and record.scores == expected


@pytest.mark.slow
def test_only_a_run_with_a_model_at_its_end_is_scored_on_test_images(
    trained: Trainer, small_faces: ImageSet, tmp_path: Path
) -> None:
    for state in (RunState.COMPLETE, RunState.COLLAPSED, RunState.DIVERGED):
        model = None if state is RunState.DIVERGED else trained.model
        record = finish(trained.folder, trained.config, small_faces, model, state=state)
        assert (record.test is None) == (state is RunState.DIVERGED)
    on_test = score_run(trained.folder, on="test")
    unseen = scored_images(small_faces, on="test")
    tested = outputs_of(trained.evaluated, unseen, "test")
    assert on_test == score_images(unseen, tested.reconstructions, tested.samples)


def test_a_vae_whose_posterior_collapses_is_told_so(small_faces: ImageSet, tmp_path: Path) -> None:
    """At beta 1 the data predict 0.1 nats; after 40 steps an image's code says next to nothing of it."""
    config = tiny_config(alpha=0.0, beta=1.0, steps=40, warmup_steps=0, picture_every=40, lr=3e-3)
    trainer = Trainer(config, small_faces, tmp_path / "run", CPU)
    trainer.run()
    record = finish(trainer.folder, config, small_faces, trainer.evaluated)
    assert record.state is RunState.COLLAPSED and record.measures["kl"] < 0.1
    assert re.fullmatch(
        r"posterior collapse \(KL 0\.0\d+ nats, a VAE's is predicted to be 0\.104\) at step 40", record.reason
    )


@pytest.mark.slow
def test_a_posterior_far_below_that_of_the_data_has_collapsed(
    trained: Trainer, small_faces: ImageSet, spectrum: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The KL of the warm-up, which a VAE that collapses does not reach either, is no yardstick alone."""
    monkeypatch.setattr(collapse, "LEAST_RETRIEVED", 0.0)
    monkeypatch.setattr(collapse, "LEAST_VARIANCE", 0.0)
    kl = measured(trained.model, small_faces, trained.config, trained.folder).measures["kl"]
    predicted = predicted_kl(spectrum, 20.0, 8)
    for least, state in ((0.99 * kl / predicted, RunState.COMPLETE), (1.01 * kl / predicted, RunState.COLLAPSED)):
        monkeypatch.setattr(collapse, "LEAST_KL", least)
        assert measured(trained.model, small_faces, trained.config, trained.folder, vae_kl=0.0).state is state


def test_soft_introvae_has_no_margin(trained: Trainer, small_faces: ImageSet, tmp_path: Path) -> None:
    config = replace(trained.config, objective="soft")
    measures = measured(trained.model, small_faces, config, tmp_path / "run").measures
    assert measures.keys() == {name for name in CHEAP | THOROUGH if not name.startswith("inside_margin")}


@pytest.mark.parametrize("count", [1, 2])
def test_a_few_validation_images_are_enough(small_faces: ImageSet, tmp_path: Path, count: int) -> None:
    """Measures that so few images do not define, or that are not finite, are left out."""
    config = tiny_config()
    torch.manual_seed(0)
    few = replace(small_faces, validation=small_faces.validation[:count])
    measures = measured(build(config), few, config, tmp_path / "run").measures
    json.dumps(measures, allow_nan=False)
    assert "swd" not in measures and ("ms_ssim_among_real" in measures) == (count == 2)
    assert ("variance_explained" in measures) == (count == 2)


def test_images_that_are_all_alike_are_measured(small_faces: ImageSet, tmp_path: Path) -> None:
    config = tiny_config()
    alike = small_faces.train[:1].expand(20, -1, -1, -1)
    images = ImageSet("alike", alike, alike, alike)
    torch.manual_seed(0)
    measures = measured(build(config), images, config, tmp_path / "run").measures
    json.dumps(measures, allow_nan=False)
    assert measures["scored_images"] == 20 and "collapse_beta" not in measures


def test_a_model_that_gives_no_numbers_is_measured(small_faces: ImageSet, tmp_path: Path) -> None:
    config = tiny_config()
    torch.manual_seed(0)
    model = build(config)
    torch.nn.init.constant_(model.decoder.head.bias, math.nan)
    record = measured(model, small_faces, config, tmp_path / "run")
    json.dumps(record.to_dict(), allow_nan=False)
    assert record.state is RunState.COLLAPSED and record.scores.score == 0
    assert record.measures.keys().isdisjoint({"mse", "psnr", "ssim", "swd", "kl_samples"})
