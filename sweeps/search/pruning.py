"""Pruning: successive halving between trials, and rules that end a single hopeless one.

Trials are compared by the score that they end with, that of the averaged weights, on fewer images.
`benchmarks/sweep.py` measures what all this saves and costs.
"""

import math
from collections.abc import Mapping, Sequence

from optuna.trial import TrialState

from analysis.measures.collapse import posterior_collapse
from introvae.config import TrainConfig
from introvae.runs.record import RunState

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)  # states of trials that have ended
RUNG_SHARES = (1 / 6, 1 / 2)  # of the steps after the warm-up
KEPT_SHARE = 1 / 3  # of the trials that reach a rung
RUNAWAY = 10.0  # times the margin, a VAE's KL or 10 nats
REACH_BY = 1 / 4  # of the steps after the warm-up, until fakes must have reached m or the energy of real images


class Stopped(Exception):
    """End of a trial before its last step: its state, pruned, collapsed or diverged, and the reason."""

    def __init__(self, state: RunState, reason: str) -> None:
        super().__init__(reason)
        self.state = state


def rungs(config: TrainConfig) -> list[int]:
    """Return the steps before the last at which a trial is scored and may be pruned, each with a row of metrics.csv."""
    warmup, rest = config.warmup_steps, config.steps - config.warmup_steps
    logs = {math.ceil((warmup + share * rest) / config.log_every) for share in RUNG_SHARES}
    return [log * config.log_every for log in sorted(logs) if log * config.log_every < config.steps]


def goes_on(score: float, others: Sequence[float]) -> bool:
    """Tell whether a trial continues after a rung: if it is among the best third of all scores there.

    Args:
        score: The trial's score at the rung.
        others: Scores at the rung of trials that have ended. Those that still run do not count, or a continued study
            would decide differently.
    """
    better = sum(other > score for other in others)
    return better < max(1, round(KEPT_SHARE * (len(others) + 1)))


class Rules:
    """Rules that look at each row of a run's metrics.csv, and raise Stopped once the run is hopeless.

    Args:
        config: The run's settings.
        vae_kl: KL in nats that a VAE reaches at the run's beta.
    """

    def __init__(self, config: TrainConfig, vae_kl: float) -> None:
        self.config, self.vae_kl = config, vae_kl
        self.reach_by = config.warmup_steps + REACH_BY * (config.steps - config.warmup_steps)
        self.reached = False

    def __call__(self, row: Mapping[str, float]) -> None:
        if not row["alpha"]:  # the warm-up's, or a plain VAE's
            return
        m, real, fakes = self.config.m, row["kl_real"], max(row["kl_reconstruction"], row["kl_sample"])
        if collapse := posterior_collapse(real, self.vae_kl, predicted=not self.config.warmup_steps):
            raise Stopped(RunState.COLLAPSED, collapse)
        if max(real, fakes) > RUNAWAY * max(m, self.vae_kl, 10.0):
            raise Stopped(RunState.DIVERGED, f"runaway energy (KL {max(real, fakes):.3g} nats, m {m:.3g})")
        self.reached = self.reached or fakes >= min(real, m)
        if row["step"] >= self.reach_by and not self.reached:
            energies = f"fakes {fakes:.3g} nats, real images {real:.3g}, m {m:.3g}"
            raise Stopped(RunState.PRUNED, f"margin never reached ({energies})")
