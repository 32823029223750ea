"""Cost of a training step against the orders of passes in the authors' and Soft-IntroVAE's code.

    python benchmarks/speed/step.py [--image-size 64] [--norm group] [--device cpu] [--processes 5]

Networks, batch and mathematics are the same, in float32. Theirs run as published, in contiguous layout with unfused
Adam; ours as introvae-train runs them; and the authors' order once more as ours is run, which leaves the order of
passes as the only difference. Each has several processes, as the same step is faster in one process than in another,
and one works at a time: a round is a step or more of each in turn. A process counts by its median over all rounds; a
ratio is that of the means over processes, with its standard error. Memory is the peak of what one step saves
for its backward passes, counted by hooks. On CUDA ours is shown with each kernel launched, too.
"""

import argparse
import time
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
import torch.multiprocessing as mp
from orders import UncheckedAdam, authors_step, soft_introvae_step
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.profiler import ProfilerActivity, profile

from introvae.config import TrainConfig
from introvae.nn.networks import IntroVAE, build
from introvae.training.device import adam, tune_process
from introvae.training.graphs import GraphedStep
from introvae.training.schedule import Weights
from introvae.training.step import Noise, Optimizers, train_step

INTROVAE = Weights(alpha=0.25, alpha_decoder=0.25, beta=1.0, kl_weight=1.0, m=120.0)
LR = 2e-4


@dataclass(frozen=True)
class Contender:
    name: str
    step: Callable[..., Any]
    soft: bool = False
    as_published: bool = False
    recompute: bool = False
    change: Callable[[IntroVAE], None] | None = None
    graphed: bool = False


CONTENDERS = (
    Contender("the authors' order", authors_step, as_published=True),
    Contender("Soft-IntroVAE's order", soft_introvae_step, soft=True, as_published=True),
    Contender("ours", train_step),
    Contender("ours, soft", train_step, soft=True),
    Contender("ours, checkpointing", train_step, recompute=True),
    Contender("the authors', tuned", authors_step),
)
GRAPHED = (
    Contender("ours, replayed", train_step, graphed=True),
    Contender("ours, soft, replayed", train_step, soft=True, graphed=True),
)  # as introvae-train runs them on CUDA


def prepare(contender: Contender, config: TrainConfig, device: torch.device) -> Callable[[], Any]:
    """Return a function that takes one step, on one batch of random images and noise."""
    torch.manual_seed(0)
    model = build(replace(config, activation_checkpointing=contender.recompute)).to(device)
    if contender.change:
        contender.change(model)
    x = torch.rand(config.batch_size, config.channels, config.image_size, config.image_size, device=device)
    noise = torch.randn(4, config.batch_size, config.latent, device=device)
    weights = INTROVAE
    if contender.soft:
        scale = 1 / x[0].numel()
        weights = Weights(
            alpha=0.5, alpha_decoder=0.5, beta=2.0, kl_weight=1.0, m=0.0, objective="soft", scale=scale, beta_neg=256.0
        )
    tuned, draws = not contender.as_published, Noise(noise[0], noise[1], noise[2:])
    if tuned:
        tune_process(device)
        model, x = model.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    optimizer = adam if contender.step is train_step else partial(UncheckedAdam, fused=tuned)
    optimizers = Optimizers(optimizer(model.encoder, LR), optimizer(model.decoder, LR))
    if contender.graphed:
        graphed = GraphedStep(model, optimizers)
        return lambda: graphed(x, draws, weights)
    return lambda: contender.step(model, optimizers, x, draws, weights)


@dataclass
class SavedBytes(saved_tensors_hooks):
    """Counter of the bytes that autograd keeps for backward passes, now and at the peak; each storage counts once."""

    now: int = 0
    peak: int = 0
    _holders: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        super().__init__(self._pack, lambda saved: saved.tensor)

    def _pack(self, tensor: Tensor) -> "_Saved":
        saved = _Saved(tensor)
        if not isinstance(tensor, torch.nn.Parameter):
            storage = tensor.untyped_storage()
            self._hold(storage.data_ptr(), storage.nbytes(), 1)
            weakref.finalize(saved, self._hold, storage.data_ptr(), storage.nbytes(), -1)
        return saved

    def _hold(self, storage: int, size: int, change: int) -> None:
        before, after = self._holders[storage], self._holders[storage] + change
        self._holders[storage] = after
        if before == 0:
            self.now += size
        elif after == 0:
            self.now -= size
        self.peak = max(self.peak, self.now)


class _Saved:
    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor.detach()  # without the graph, which would hold it in a circle


def saved_bytes(step: Callable[[], Any]) -> int:
    saved = SavedBytes()
    with saved:
        step()
    return saved.peak


def convolution_share(step: Callable[[], Any], steps: int = 5) -> float:
    """Return the share of convolutions in the processor time that operators spend themselves."""
    with profile(activities=[ProfilerActivity.CPU]) as record:
        for _ in range(steps):
            step()
    times = {event.key: event.self_cpu_time_total for event in record.key_averages() if event.key.startswith("aten::")}
    return sum(time for name, time in times.items() if "conv" in name) / sum(times.values())


def wait_for(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def serve(contender: Contender, config: TrainConfig, device: torch.device, connection: Any) -> None:
    """Answer requests: the seconds of a step, measured over as many as asked for, "memory" or "share"."""
    step = prepare(contender, config, device)
    step()
    for request in iter(connection.recv, None):
        if request == "memory":
            connection.send(saved_bytes(step))
        elif request == "share":
            connection.send(convolution_share(step))
        else:
            wait_for(device)
            start = time.perf_counter()
            for _ in range(request):
                step()
            wait_for(device)
            connection.send((time.perf_counter() - start) / request)


def started(contenders: Sequence[Contender], config: TrainConfig, device: torch.device) -> list[Any]:
    """Start a process for each contender, and return the connections to them."""
    context = mp.get_context("spawn")
    lines = []
    for contender in contenders:
        here, there = context.Pipe()
        context.Process(target=serve, args=(contender, config, device, there), daemon=True).start()
        lines.append(here)
    return lines


def ask(line: Any, request: Any) -> Any:
    line.send(request)
    return line.recv()


def seconds_of_steps(lines: Sequence[Any], rounds: int, steps: int) -> Tensor:
    """Return the median over rounds of each process's seconds for a step, after a round that warms up."""
    seconds = [[ask(line, steps) for line in lines] for _ in range(rounds + 1)][1:]
    return torch.tensor(seconds).quantile(0.5, dim=0)


def ratio(theirs: Tensor, ours: Tensor) -> str:
    """Format the ratio of mean seconds, with its standard error over the processes if there are several."""
    value = theirs.mean() / ours.mean()
    if len(ours) == 1 or theirs.equal(ours):
        return f"{value:.2f}"
    errors = [(seconds.std() / seconds.mean()) ** 2 / len(seconds) for seconds in (theirs, ours)]
    return f"{value:.2f} ± {value * sum(errors) ** 0.5:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--latent", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--norm", default="group", choices=["group", "batch", "none"])
    parser.add_argument("--device", default="cpu", type=torch.device)
    parser.add_argument("--processes", type=int, default=5, help="processes of each contender")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1, help="steps of each process in a round")
    arguments = vars(parser.parse_args())
    processes, rounds, steps, device = (arguments.pop(name) for name in ("processes", "rounds", "steps", "device"))
    contenders = CONTENDERS + GRAPHED * (device.type == "cuda")
    config = TrainConfig(channels=3, **arguments)

    lines = started(contenders * processes, config, device)
    memory = [ask(line, "memory") for line in lines[: len(contenders)]]
    seconds = seconds_of_steps(lines, rounds, steps).view(processes, len(contenders))
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"{where}, {config.image_size} px, widths {config.widths}, z {config.latent}, batch {config.batch_size}, "
          f"norm {config.norm}, {processes} processes, {rounds} rounds")  # fmt: skip
    print(f"{'':22} {'ms a step':>9} {'ours is faster by':>18} {'saved MiB':>10} {'ours saves less by':>19}")
    for index, (contender, saved) in enumerate(zip(contenders, memory, strict=True)):
        own = 3 if contender.soft else 2
        faster = ratio(seconds[:, index], seconds[:, own])
        print(f"{contender.name:22} {1000 * seconds[:, index].mean():9.1f} {faster:>18} {saved / 2**20:10.1f} "
              f"{1 - memory[own] / saved:18.0%}")  # fmt: skip
    print(f"ours against Soft-IntroVAE's order: {ratio(seconds[:, 1], seconds[:, 2])}")
    print(f"convolutions in ours: {ask(lines[2], 'share'):.0%} of the operators' time")
    for line in lines:
        line.send(None)


if __name__ == "__main__":
    main()
