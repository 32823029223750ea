"""Tasks: what a worker leaves in the run folder of a trial that ends early."""

from pathlib import Path
from typing import Any

import pytest
from helpers import tiny_config

from analysis.measures.score import weights_of
from analysis.measures.spectrum import eigenvalues
from introvae.data.image_set import ImageSet
from introvae.runs.pictures import pictures
from introvae.runs.record import RunRecord, RunState, Scores
from sweeps.plan import Plan, Setup
from sweeps.search.space import Space
from sweeps.tasks.fence import Fence
from sweeps.tasks.task import Task, Worker


def test_a_trial_that_rules_end_is_pictured_where_it_ended_before_it_is_finished(
    small_faces: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The GIF and the sheets, which are drawn then, show that picture."""
    config, weights = tiny_config(warmup_steps=0, log_every=5, checkpoint_every=20), weights_of("score")
    space = Space(alpha=(0.1, 0.3), beta=(50.0, 80.0), margin_ratio=(1.0, 2.0))
    setup = Setup(config=config, space=space, spectrum=eigenvalues(small_faces.train), folder=tmp_path, weights=weights)
    plan = Plan(config=config, folder=setup.run_folder(0), vae_kl=1e6)  # beside which any KL has collapsed
    found: list[str] = []

    def finish(folder: Path, *_: Any, state: RunState, **given: Any) -> RunRecord:
        found.extend(path.name for path in pictures(folder))
        return RunRecord(state=state, scores=Scores(score=0.0), weights=weights, optimized=0.0)

    monkeypatch.setattr("sweeps.tasks.task.finish", finish)
    attempt = Fence.claim(plan.folder).attempt
    result = Worker(images=small_faces).run(Task(setup=setup, plan=plan, until=20, attempt=attempt, device="cpu"))
    assert result.record and result.record.state is RunState.COLLAPSED and result.step == 5
    assert found == [f"step-{step:06d}.png" for step in (0, 1, 3, 5)]
