"""Progress of a training: a bar in a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from introvae.training.trainer import OnLog

LINE_EVERY = 10.0  # seconds between plain lines


@contextmanager
def progress(steps: int, initial: int, label: str) -> Iterator[OnLog]:
    """Yield a function that shows a row of metrics.csv, of `steps` from `initial` on, and the time left."""
    live = sys.stderr.isatty()
    start = shown = time.monotonic()
    with tqdm(total=steps, initial=initial, desc=label, unit="step", dynamic_ncols=True, disable=not live) as bar:

        def on_log(row: dict[str, float]) -> None:
            nonlocal shown
            now, step = time.monotonic(), int(row["step"])
            if live:
                bar.set_postfix_str(describe(row), refresh=False)
                bar.update(step - bar.n)
            elif now - shown >= LINE_EVERY or step == steps:
                left = (now - start) / (step - initial) * (steps - step)
                print(
                    f"{label}: step {step}/{steps}, {describe(row)}, {duration(left)} left", file=sys.stderr, flush=True
                )
                shown = now

        yield on_log


def duration(seconds: float) -> str:
    """Return a time as text: seconds below 90, minutes below 90, hours below 48, then days."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:,.1f} days"


def describe(row: dict[str, float]) -> str:
    """Return loss, KLs and images/s of a row of metrics.csv as text."""
    kls = "/".join(
        f"{row[name]:.1f}" for name in ("kl_real", "kl_reconstruction", "kl_sample") if row[name] == row[name]
    )
    return f"loss {row['loss_encoder']:.4g}, KL {kls}, {row['images_per_second']:.0f} images/s"
