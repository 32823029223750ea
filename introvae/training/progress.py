"""Progress of a training: a bar in a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from introvae.training.trainer import OnLog

LINE_EVERY = 10.0  # seconds between plain lines


@contextmanager
def progress(steps: int, initial: int, label: str, lines: bool = True) -> Iterator[OnLog]:
    """Yield a function that shows a row of metrics.csv: loss, KLs, images/s and the time left.

    Args:
        steps: The last step.
        initial: The number of steps done before.
        label: The name of the run.
        lines: Whether to print lines where there is no terminal.
    """
    if sys.stderr.isatty():
        with tqdm(total=steps, initial=initial, desc=label, leave=lines, unit="step", dynamic_ncols=True) as bar:

            def advance(row: dict[str, float]) -> None:
                bar.set_postfix_str(describe(row), refresh=False)
                bar.update(int(row["step"]) - bar.n)

            yield advance
        return

    start = shown = time.monotonic()

    def line(row: dict[str, float]) -> None:
        nonlocal shown
        now, step = time.monotonic(), int(row["step"])
        if lines and (now - shown >= LINE_EVERY or step == steps):
            left = (now - start) / (step - initial) * (steps - step)
            print(f"{label}: step {step}/{steps}, {describe(row)}, {left:.0f} s left", file=sys.stderr, flush=True)
            shown = now

    yield line


def describe(row: dict[str, float]) -> str:
    """Return loss, KLs and images/s of a row of metrics.csv as text."""
    kls = "/".join(
        f"{row[name]:.1f}" for name in ("kl_real", "kl_reconstruction", "kl_sample") if row[name] == row[name]
    )
    return f"loss {row['loss_encoder']:.4g}, KL {kls}, {row['images_per_second']:.0f} images/s"
