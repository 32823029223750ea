"""Rules that end a hopeless trial."""

from collections.abc import Mapping

from analysis.measures.collapse import posterior_collapse
from introvae.config import TrainConfig
from introvae.runs.record import RunState

RUNAWAY = 10.0  # times the margin, a VAE's KL or 10 nats


class Stopped(Exception):
    """End of a trial before its last step: its state, collapsed or diverged, and the reason."""

    def __init__(self, state: RunState, reason: str) -> None:
        super().__init__(reason)
        self.state = state


class Rules:
    """Rules that look at each row of a run's metrics.csv, and raise Stopped once the run is hopeless.

    Args:
        config: The run's settings.
        vae_kl: KL in nats that a VAE reaches at the run's beta.
    """

    def __init__(self, config: TrainConfig, vae_kl: float) -> None:
        self.config, self.vae_kl = config, vae_kl

    def __call__(self, row: Mapping[str, float]) -> None:
        if not row["alpha"]:  # the warm-up's, or a plain VAE's
            return
        m, real, fakes = self.config.m, row["kl_real"], max(row["kl_reconstruction"], row["kl_sample"])
        if collapse := posterior_collapse(real, self.vae_kl, predicted=not self.config.warmup_steps):
            raise Stopped(RunState.COLLAPSED, collapse)
        if max(real, fakes) > RUNAWAY * max(m, self.vae_kl, 10.0):
            raise Stopped(RunState.DIVERGED, f"runaway energy (KL {max(real, fakes):.3g} nats, m {m:.3g})")
