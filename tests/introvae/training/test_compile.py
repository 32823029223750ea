"""Compiled networks compute the same, are compiled once, and cost the passes that the README says."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from steps import INTROVAE, LATENT, SOFT, VAE, draws, inner_convolution, make, passes
from torch._dynamo.backends.common import aot_autograd
from torch._subclasses import FakeTensorMode

from introvae.config import TrainConfig
from introvae.nn.networks import build
from introvae.training.batch_statistics import measure_statistics
from introvae.training.device import adam, compile_networks
from introvae.training.metrics import summary
from introvae.training.schedule import Weights
from introvae.training.step import Optimizers, train_step


class CountingBackend:
    """Runs the forward and backward graphs as they are; counts graphs, and passes of one convolution by its shape."""

    def __init__(self, shapes: dict[tuple[int, ...], str]) -> None:
        self.shapes = shapes
        self.graphs = 0
        self.counts: Counter[str] = Counter()
        self.backend = aot_autograd(fw_compiler=self._compile, bw_compiler=self._compile)

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[Any]) -> Any:
        self.graphs += 1
        return self.backend(graph, inputs)

    def passes(self) -> dict[str, int]:
        """Return the passes of the two convolutions that have names."""
        return {name: count for name, count in self.counts.items() if not name.startswith("other")}

    def _compile(self, graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable[[list[Any]], Any]:
        cost: Counter[str] = Counter()
        for node in graph.graph.nodes:
            if node.target is torch.ops.aten.convolution.default:
                cost[f"{self._name(node.args[1])} forward"] += 1
            elif node.target is torch.ops.aten.convolution_backward.default:
                for kind, asked in zip(("input", "weight"), node.args[10], strict=False):
                    cost[f"{self._name(node.args[2])} {kind} gradient"] += int(asked)

        def run(arguments: list[Any]) -> Any:
            self.counts += cost
            return torch.fx.Interpreter(graph).boxed_run(arguments)

        run._boxed_call = True  # type: ignore[attr-defined]
        return run

    def _name(self, weight: torch.fx.Node) -> str:
        return self.shapes.get(tuple(weight.meta["val"].shape), "other")


def compiled(norm: str = "group") -> tuple[Any, Any, CountingBackend]:
    torch._dynamo.reset()
    model, optimizers = make(norm, torch.float32)
    inner = {tuple(inner_convolution(net).weight.shape): name for name, net in model.named_children()}
    backend = CountingBackend(inner)
    compile_networks((model.encoder, model.decoder), backend)
    return model, optimizers, backend


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["group", "batch"])
def test_compiled_networks_train_alike_and_are_compiled_once(norm: str) -> None:
    """A graph break would give a network more than two graphs; new weights must give it none.

    One decoder weight gradient more than without: a compiled backward pass computes all of its gradients.
    """
    model, optimizers, backend = compiled(norm)
    plain, plain_optimizers = make(norm, torch.float32)
    sweep = [INTROVAE, replace(INTROVAE, alpha=0.1), replace(INTROVAE, beta=3.0), replace(INTROVAE, m=2.0), VAE]
    graphs = []
    for step, weights in enumerate(sweep):
        backend.counts.clear()
        train_step(model, optimizers, *draws(step, torch.float32), weights)
        assert backend.passes() == (passes((5, 3, 5), (2, 3, 3)) if weights.alpha else passes((1, 1, 1), (1, 1, 1)))
        train_step(plain, plain_optimizers, *draws(step, torch.float32), weights)
        graphs.append(backend.graphs)
    assert graphs == [3] * len(sweep)  # two of the encoder, one of the decoder
    assert not torch._dynamo.utils.counters["graph_break"]
    for a, b in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_networks_of_the_same_shapes_use_what_is_compiled() -> None:
    """A process that trains one trial after another, or takes one up again, compiles once."""
    model, optimizers, backend = compiled()
    train_step(model, optimizers, *draws(0, torch.float32), INTROVAE)
    assert backend.graphs == 3
    other, its_optimizers = make("group", torch.float32)
    compile_networks((other.encoder, other.decoder), backend)
    train_step(other, its_optimizers, *draws(1, torch.float32), replace(INTROVAE, alpha=0.1))
    assert backend.graphs == 3
    unlike, its_optimizers = make("none", torch.float32)
    compile_networks((unlike.encoder, unlike.decoder), backend)
    train_step(unlike, its_optimizers, *draws(2, torch.float32), INTROVAE)
    assert backend.graphs == 6


@pytest.mark.slow
def test_passes_of_a_compiled_soft_step() -> None:
    model, optimizers, backend = compiled()
    train_step(model, optimizers, *draws(0, torch.float32), SOFT)
    backend.counts.clear()
    train_step(model, optimizers, *draws(1, torch.float32), SOFT)
    assert backend.passes() == passes((5, 3, 5), (4, 3, 5))
    assert backend.graphs == 4


def test_evaluation_compiles_nothing() -> None:
    model, _, backend = compiled()
    model.reconstruct(draws(0, torch.float32)[0])
    assert backend.graphs == 0


@pytest.mark.slow
def test_measuring_batch_statistics_compiles_nothing_and_leaves_the_graphs_of_training() -> None:
    model, optimizers, backend = compiled("batch")
    for step in range(3):
        x, noise = draws(step, torch.float32)
        train_step(model, optimizers, x, noise, INTROVAE)
        assert noise.prior is not None
        measure_statistics([model], [(x, torch.stack([noise.posterior, noise.prior]))])
        model.sample(2)
    assert backend.graphs == 3


def fake_step(weights: Weights) -> None:
    with FakeTensorMode():
        model = build(TrainConfig(image_size=16, channels=1, latent=LATENT, widths=(8, 12)))
        optimizers = Optimizers(adam(model.encoder, 1e-3), adam(model.decoder, 1e-3))
        x, noise = draws(0, torch.float32)
        terms = train_step(model, optimizers, x, noise, weights)
        values = summary(terms, weights.m)
        assert torch.where(~values[:2].isfinite().all(), 1, 0).shape == ()


@pytest.mark.parametrize("weights", [INTROVAE, replace(INTROVAE, hinge="batch"), SOFT, VAE])
def test_a_step_and_its_summary_wait_for_no_value(weights: Weights) -> None:
    """Fake tensors have no values: whatever asked for one would raise."""
    fake_step(weights)


def test_fake_tensors_notice_a_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    import introvae.training.step

    real = introvae.training.step.kl_divergence

    def waiting(mu: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
        kl = real(mu, logvar)
        return kl if kl.mean() > 0 else -kl

    monkeypatch.setattr(introvae.training.step, "kl_divergence", waiting)
    with pytest.raises(torch._subclasses.fake_tensor.DataDependentOutputException):
        fake_step(INTROVAE)
