"""Fences: one attempt at a run may write, and is told when to stop."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers import tiny_config

from analysis import evaluate
from analysis.measures.score import weights_of
from analysis.measures.spectrum import eigenvalues
from introvae.data.image_set import ImageSet
from introvae.runs.folder import CURVES, METRICS, last_row, load_checkpoint
from introvae.runs.record import SCORES
from sweeps.plan import Setup, plan_trial
from sweeps.search.space import Space
from sweeps.tasks.fence import Fence, Superseded
from sweeps.tasks.task import Result, Task, Worker


def test_the_last_attempt_holds_the_folder(tmp_path: Path) -> None:
    first = Fence.claim(tmp_path / "run")
    assert not first()
    second = Fence.claim(tmp_path / "run")
    assert not second() and not Fence(tmp_path / "run", second.attempt)()
    with pytest.raises(Superseded, match="taken over"):
        first()
    second.stop()
    assert second()
    with pytest.raises(Superseded):
        first()


def test_nobody_holds_the_folder_of_a_run_that_has_ended(tmp_path: Path) -> None:
    fence = Fence.claim(tmp_path)
    fence.remove()
    fence.remove()
    with pytest.raises(Superseded):
        fence()


def test_a_superseded_worker_leaves_at_its_next_log_and_writes_nothing(small_faces: ImageSet, tmp_path: Path) -> None:
    """Another attempt begins amid its steps."""
    space = Space(alpha=(0.1, 0.3), beta=(50.0, 80.0), margin_ratio=(1.0, 2.0))
    setup = Setup(
        config=tiny_config(warmup_steps=0), space=space, spectrum=eigenvalues(small_faces.train), folder=tmp_path,
        weights=weights_of("score"),
    )  # fmt: skip
    plan = plan_trial(setup, 0, {"alpha": 0.2, "beta": 60.0, "m": 20.0})
    logged: list[bytes] = []

    def look() -> None:
        logged.append((plan.folder / METRICS).read_bytes())
        if len(logged) == 3:
            Fence.claim(plan.folder)

    task = Task(setup=setup, plan=plan, until=20, attempt=Fence.claim(plan.folder).attempt, device="cpu")
    worker = Worker(images=small_faces)
    worker.look = look
    result = worker.run(task)
    assert isinstance(result.error, Superseded)
    assert (plan.folder / METRICS).read_bytes() == logged[-1]
    checkpoint = load_checkpoint(plan.folder)
    assert checkpoint and checkpoint["step"] == 4
    assert isinstance(Worker(images=small_faces).run(task).error, Superseded)


@pytest.mark.slow
def test_a_superseded_worker_writes_nothing_while_it_scores(
    small_faces: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another attempt begins as soon as the run is measured; later, amid its pictures; and then not at all."""
    space = Space(alpha=(0.1, 0.3), beta=(50.0, 80.0), margin_ratio=(1.0, 2.0))
    setup = Setup(
        config=tiny_config(warmup_steps=0, steps=2), space=space, spectrum=eigenvalues(small_faces.train),
        folder=tmp_path, weights=weights_of("score"),
    )  # fmt: skip
    plan = plan_trial(setup, 0, {"alpha": 0.2, "beta": 60.0, "m": 20.0})
    written: list[set[str]] = []
    for moment in ("thorough_measures", "write_gif", None):
        with monkeypatch.context() as patch:
            if moment:
                work = getattr(evaluate, moment)

                def then_claimed(*args: Any, work: Callable[..., Any] = work) -> Any:
                    found = work(*args)
                    Fence.claim(plan.folder)
                    return found

                patch.setattr(evaluate, moment, then_claimed)
            task = Task(setup=setup, plan=plan, until=2, attempt=Fence.claim(plan.folder).attempt, device="cpu")
            result = Worker(images=small_faces).run(task)
        written.append({name for name in (CURVES, SCORES) if (plan.folder / name).exists()})
        assert isinstance(result.error, Superseded) == bool(moment), result.error
    assert written == [set(), {CURVES}, {CURVES, SCORES}]


@pytest.mark.slow
def test_a_worker_that_holds_the_run_goes_on_without_its_checkpoint(small_faces: ImageSet, tmp_path: Path) -> None:
    """Unless another process has trained it meanwhile."""
    space = Space(alpha=(0.1, 0.3), beta=(50.0, 80.0), margin_ratio=(1.0, 2.0))
    setup = Setup(
        config=tiny_config(warmup_steps=0), space=space, spectrum=eigenvalues(small_faces.train), folder=tmp_path,
        weights=weights_of("score"), prune=False,
    )  # fmt: skip
    plan = plan_trial(setup, 0, {"alpha": 0.2, "beta": 60.0, "m": 20.0})
    task = Task(setup=setup, plan=plan, until=6, attempt=Fence.claim(plan.folder).attempt, device="cpu")
    one, other = Worker(images=small_faces), Worker(images=small_faces)
    first, log = one.run(task), last_row(plan.folder)
    assert log and first == Result(step=6, score=first.score, kl=log["kl_real"]) == one.run(task)
    held = one.held
    assert held and one.run(replace(task, until=8, reached=6)).step == 8
    assert one.held and one.held[0] is held[0]
    assert other.run(replace(task, until=10, reached=8)).step == 10
    assert one.run(replace(task, until=12, reached=10)).step == 12
    assert one.held and one.held[0] is not held[0]
