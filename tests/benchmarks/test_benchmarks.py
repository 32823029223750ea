"""Benchmarks: contenders take the same update at the stated cost, and figures are computed as stated."""

import math
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
import torch
from attempts import CONTENDERS as ATTEMPTS
from lessons import LESSONS
from lessons import main as lessons
from orders import UncheckedAdam, authors_step, soft_introvae_step
from published import row, settings
from step import CONTENDERS, prepare, saved_bytes
from steps import INTROVAE, SOFT, PassCounter, draws, inner_convolution, make, passes
from study import fill, rung
from torch import Tensor

from introvae.config import TrainConfig
from introvae.data.image_set import ImageSet
from introvae.nn.networks import IntroVAE
from introvae.training.step import Optimizers, train_step
from introvae.training.trainer import Trainer


def unchecked(norm: str) -> tuple[IntroVAE, Optimizers]:
    model, _ = make(norm)
    return model, Optimizers(UncheckedAdam(model.encoder, 1e-2), UncheckedAdam(model.decoder, 1e-2))


@pytest.mark.parametrize("norm", ["group", "batch", "none"])
def test_the_authors_order_is_the_same_update(norm: str) -> None:
    ours, optimizers = make(norm)
    theirs, their_optimizers = unchecked(norm)
    for step in range(3):
        train_step(ours, optimizers, *draws(step), INTROVAE)
        authors_step(theirs, their_optimizers, *draws(step), INTROVAE)
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=0, atol=1e-12, msg=name)


@pytest.mark.parametrize("change", [contender.change for contender in ATTEMPTS if contender.change])
def test_attempts_at_a_faster_step_are_the_same_update(change: Callable[[IntroVAE], None]) -> None:
    ours, optimizers = make("group")
    other, other_optimizers = make("group")
    names = [type(module) for module in other.modules()]
    change(other)
    assert [type(module) for module in other.modules()] != names
    for model in (ours, other):
        model.to(memory_format=torch.channels_last)
    for step in range(3):
        train_step(ours, optimizers, *draws(step), INTROVAE)
        train_step(other, other_optimizers, *draws(step), INTROVAE)
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value, rtol=0, atol=1e-12, msg=name)


def test_soft_introvaes_order_is_the_same_update() -> None:
    ours, optimizers = make("group")
    theirs, their_optimizers = unchecked("group")
    for step in range(3):
        train_step(ours, optimizers, *draws(step), SOFT)
        soft_introvae_step(theirs, their_optimizers, *draws(step), SOFT)
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=0, atol=1e-12, msg=name)


def test_the_orders_cost_the_passes_that_their_code_takes() -> None:
    for step, weights, expected in (
        (authors_step, INTROVAE, passes((5, 6, 6), (2, 3, 3))),
        (soft_introvae_step, SOFT, passes((5, 3, 5), (8, 4, 7))),
    ):
        model, optimizers = unchecked("group")
        counter = PassCounter({name: inner_convolution(net) for name, net in model.named_children()})
        with counter:
            step(model, optimizers, *draws(0), weights)
        assert counter.counts == expected


@pytest.mark.slow
def test_ours_keeps_at_least_a_quarter_less_for_its_backward_passes() -> None:
    config = TrainConfig(image_size=64, channels=3, latent=16, batch_size=4)
    memory = {contender.name: saved_bytes(prepare(contender, config, torch.device("cpu"))) for contender in CONTENDERS}
    assert memory["ours"] <= 0.75 * memory["the authors' order"]
    assert memory["ours, soft"] <= 0.75 * memory["Soft-IntroVAE's order"]


def test_saved_bytes_are_those_of_what_autograd_saves() -> None:
    x = torch.rand(100, requires_grad=True)

    def one() -> Tensor:
        return (x.exp() * 1.0).sum()  # exp saves its result

    def two() -> Tensor:
        return x.exp().sin().sum()  # and sin its argument, which is the same

    def in_turn() -> Tensor:
        one()
        return x.cos().sum()  # cos saves x, once what exp saved is gone

    def together() -> tuple[Tensor, Tensor]:
        return one(), x.cos().sum()

    assert saved_bytes(one) == saved_bytes(two) == saved_bytes(in_turn) == 400
    assert saved_bytes(together) == 800


def statements(folder: Path, before: int) -> dict[int, int]:
    """Count the statements of trials in a study that has `before` trials, by the number of their scores."""
    asked: list[str] = []

    def note(*seen: object) -> None:
        asked.append(str(seen[2]))

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", note)
    try:
        fill(folder, before, 6)
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", note)
    begun = [index for index, text in enumerate(asked) if text.startswith("INSERT INTO trials ")]
    counts: dict[int, int] = {}
    for begin, end in pairwise(begun[before + 1 :]):  # the first of the driver's trials reads the study
        scores = sum(text.startswith("INSERT INTO trial_intermediate_values ") for text in asked[begin:end])
        assert counts.setdefault(scores, end - begin) == end - begin
    return counts


@pytest.mark.slow
def test_a_trial_asks_the_database_no_more_in_a_larger_study(tmp_path: Path) -> None:
    small, large = statements(tmp_path, 10), statements(tmp_path, 100)
    assert small == large and max(small.values()) <= 46


@pytest.mark.slow
def test_a_rung_is_scored_from_its_checkpoint_and_from_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run is read from disk once in each pair of tasks; times of a busy machine are no evidence."""
    read: list[Path] = []

    class Counted(Trainer):
        def __init__(self, config: TrainConfig, images: ImageSet, folder: Path, *rest: Any) -> None:
            read.append(folder)
            super().__init__(config, images, folder, *rest)

    monkeypatch.setattr("sweeps.tasks.task.Trainer", Counted)
    assert min(rung(tmp_path, 2)) > 0
    assert len(read) == 2


def test_published_settings_by_their_margin_ratio() -> None:
    """A latent dimension of variance 4 at 64 px has 16 times as much at 256 px: 1/2 log 3.2 nats."""
    rows = {name: row(name, config, [4.0] * 512) for name, config in settings().items()}
    assert {"official-256-a", "official-256-b", "seed-256", "seed-256-low-beta", "paper-128"} <= set(rows)
    ratio, line = rows["seed-256-low-beta"]
    kl = 512 / 2 * math.log(0.05 * 4 * 16)
    assert ratio == pytest.approx(500 / kl) and line.endswith(f"| 0.05 | 0.05 | 500 | {kl:.0f} | {500 / kl:.1f} |")
    assert rows["paper-128"][1].split(" | ")[4] == "0.125"  # a quarter of the numbers


@pytest.mark.slow
def test_the_lessons_are_trained_and_tabulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["lessons.py", "--out", str(tmp_path), "--steps", "4"])
    lessons()
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][2:]
    assert [line.split(" | ")[0].removeprefix("| ") for line in table] == list(LESSONS)
    predicted = {line.split(" | ")[0].removeprefix("| "): line.split(" | ")[2] for line in table}
    assert predicted["weight-1000"] == "0.0" and float(predicted["weight-10"]) > 1 and predicted["autoencoder"] == "-"
