"""The card of a study's winner: its setting, what it is worth, its pictures, and the command that trains it longer."""

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.report.repeats import repeats
from analysis.report.runs import Run, with_error
from analysis.report.table import cell
from introvae.runs.record import RunState, best_run

LONGER = 4  # times the steps, in the command


@dataclass(frozen=True, kw_only=True)
class Card:
    """The best run of some, as text.

    Attributes:
        run: The run.
        setting: Its alpha, beta and m, and what else was searched.
        test: Its score on test images, over seeds where these repeat its setting.
        longer: The command that trains it longer.
    """

    run: Run
    setting: str
    test: str
    longer: str

    def __str__(self) -> str:
        lines = [f"winner: {self.run.name}, {self.setting}", f"  test score {self.test}"]
        lines += [f"  pictures: {self.run.pictures['last']}"] if "last" in self.run.pictures else []
        return "\n".join([*lines, f"  longer: {self.longer}"])


def card(folder: Path, runs: Sequence[Run], seeds: Sequence[Run] = (), searched: Sequence[str] = ()) -> Card | None:
    """Describe the winner of a study; None if no run is complete, or the winner cannot be read.

    Args:
        folder: The study's folder.
        runs: Its runs.
        seeds: Runs that repeat the winner with other seeds.
        searched: Fields of TrainConfig that the study searches beside alpha, beta and m.
    """
    if not any(run.state is RunState.COMPLETE for run in runs):
        return None
    winner = best_run(folder)  # which the command continues
    (best,) = (run for run in runs if run.folder == winner)
    return _card(best, [str(folder), "--best"], folder, seeds, searched) if best.state is RunState.COMPLETE else None


def card_of_first(runs: Sequence[Run]) -> Card | None:
    """Describe the first complete run of those given, best first; None if there is none."""
    best = next((run for run in runs if run.state is RunState.COMPLETE), None)
    return _card(best, [str(best.folder)], best.folder) if best else None


def _card(
    best: Run, source: Sequence[str], folder: Path, seeds: Sequence[Run] = (), searched: Sequence[str] = ()
) -> Card:
    assert best.config
    setting = ", ".join(f"{name} {cell(name, value)}" for name, value in best.parameters.items())
    if "m" in best.parameters:
        setting += f" nats (m/KL {cell('m/KL', best.margin_ratio)})" if best.margin_ratio else " nats"
    setting += "".join(f", {name} {cell(name, getattr(best.config, name))}" for name in searched)
    test = "unknown" if math.isnan(best.test.score) else with_error(best.test)
    if found := repeats(seeds):
        test += f"; over {len(seeds)} new seeds {found[0].test}"
    words = ["--from", *source, "--steps", str(LONGER * best.config.steps)]
    place = folder if folder.name.strip(".") else folder.resolve()  # the current folder has no name as it is written
    out = place.parent / f"{place.name}-longer"
    return Card(run=best, setting=setting, test=test, longer=shlex.join(["introvae-train", *words, "--out", str(out)]))
