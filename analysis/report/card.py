"""The card of a study's winner: its setting, what it is worth, its pictures, and the command that trains it longer."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from analysis.report.repeats import repeats
from analysis.report.runs import Run
from analysis.report.table import cell
from introvae.runs.record import RunState, best_run

LONGER = 4  # times the steps, in the command


def card(folder: Path, runs: Sequence[Run], seeds: Sequence[Run] = (), searched: Sequence[str] = ()) -> str:
    """Describe the winner of a study; "" if no run is complete.

    Args:
        folder: The study's folder.
        runs: Its runs.
        seeds: Runs that repeat the winner with other seeds.
        searched: Fields of TrainConfig that the study searches beside alpha, beta and m.
    """
    if not any(run.state is RunState.COMPLETE for run in runs):
        return ""
    winner = best_run(folder)  # which the command below continues
    (best,) = (run for run in runs if run.folder == winner)
    assert best.config
    setting = ", ".join(f"{name} {cell(name, value)}" for name, value in best.parameters.items())
    if "m" in best.parameters:
        setting += f" nats (m/KL {cell('m/KL', best.margin_ratio)})" if best.margin_ratio else " nats"
    setting += "".join(f", {name} {cell(name, getattr(best.config, name))}" for name in searched)
    lines = [f"winner: {best.name}, {setting}", f"  test score {best.test.score:.3f} ± {best.test.stderr:.3f}"]
    if found := repeats(seeds):
        lines[-1] += f"; over {len(seeds)} new seeds {found[0].test}"
    lines.append(f"  pictures: {best.pictures['last']}")
    out = folder.parent / f"{folder.name}-longer"
    words = ["introvae-train", "--from", str(folder), "--best", "--steps", str(LONGER * best.config.steps)]
    return "\n".join([*lines, f"  longer: {shlex.join([*words, '--out', str(out)])}"])
