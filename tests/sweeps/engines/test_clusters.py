"""Messages of engines on clusters where there is no cluster, or it takes no task."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import submitit.core.utils as submitit
from helpers import tiny_config

from introvae.errors import StoppedError, UserError
from sweeps.engines.clusters import RayEngine, SlurmEngine
from sweeps.plan import Plan, Setup
from sweeps.search.space import Space
from sweeps.tasks.task import Task

LOCAL = {"cluster": "local"}


@pytest.fixture
def task(tmp_path: Path) -> Task:
    space = Space(alpha=(0.1, 1.0), beta=(1.0, 9.0), margin_ratio=(1.0, 2.0))
    setup = Setup(config=tiny_config(), space=space, spectrum=None, folder=tmp_path, weights={})  # type: ignore[arg-type]
    plan = Plan(config=setup.config, folder=tmp_path / "run")
    return Task(setup=setup, plan=plan, until=1, attempt="none", device="cpu")


class Ray:
    """Ray as far as the engine knows it, of a cluster with these resources, or of none."""

    def __init__(self, resources: dict[str, float] | None) -> None:
        self.resources = resources
        self.exceptions = SimpleNamespace(RayTaskError=type("RayTaskError", (Exception,), {}))

    def init(self, address: str, **_: Any) -> None:
        if self.resources is None:
            raise ConnectionError(f"no connection to {address}\nfurther lines")

    def cluster_resources(self) -> dict[str, float]:
        assert self.resources is not None
        return self.resources

    def remote(self, **_: Any) -> Callable[[Any], Any]:
        return lambda function: function


@pytest.mark.parametrize(
    ("resources", "gpus", "said"),
    [
        (None, 0.0, r"there is no Ray cluster at --address a:1 \(no connection to a:1\); see `ray start`"),
        ({}, 0.0, "the Ray cluster has no CPU; --gpus-per-trial is 0"),
        ({"CPU": 8.0, "GPU": 0.0}, 0.5, "the Ray cluster has no GPU; --gpus-per-trial is 0.5"),
    ],
)
def test_a_ray_cluster_that_is_not_there_or_has_nothing(
    resources: dict[str, float] | None, gpus: float, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", Ray(resources))
    with pytest.raises(UserError, match=f"^{said}$"):
        RayEngine("a:1", None, gpus)


def test_as_many_tasks_as_fit_a_ray_cluster_and_an_error_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = Ray({"CPU": 8.0, "GPU": 2.0})
    monkeypatch.setitem(sys.modules, "ray", ray)
    assert [RayEngine("a:1", None, gpus).capacity for gpus in (0.0, 0.5, 1.0)] == [8, 4, 2]
    error = ray.exceptions.RayTaskError("Traceback:\n  lines\nModuleNotFoundError: No module named 'introvae'")
    with pytest.raises(StoppedError, match=r"cannot run tasks \(ModuleNotFoundError: No module named 'introvae'\)$"):
        RayEngine("a:1", 1, 0.0).died(0, error)


@pytest.mark.parametrize(("extra", "module"), [("ray", "ray"), ("slurm", "submitit")])
def test_an_extra_that_is_not_installed(
    extra: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=rf"pip install 'introvae\[{extra}\]'$"):
        RayEngine("auto", 1, 0.0) if extra == "ray" else SlurmEngine(tmp_path, 1, LOCAL)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, 'Could not detect "srun", are you indeed on a slurm cluster?'),
        (
            LOCAL | {"slurm_partion": "gpu"},
            "Unknown argument 'partion' for executor 'slurm' in parameter 'slurm_partion'",
        ),
        (LOCAL | {"timeout_min": "long"}, 'Parameter "timeout_min" expected type <class \'int\'> (but value: "long")'),
    ],
)
def test_parameters_of_slurm_that_cannot_be_used(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        SlurmEngine(tmp_path, 1, options)
    assert str(raised.value) == f"--slurm cannot be used ({said})"


def test_jobs_that_slurm_refuses_or_cannot_run(task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = SlurmEngine(tmp_path / "jobs", 1, LOCAL)

    def refuse(*_: Any) -> None:
        raise submitit.FailedSubmissionError("sbatch: error: invalid account")

    monkeypatch.setattr(engine.executor, "submit", refuse)
    with pytest.raises(
        StoppedError, match=r"Slurm takes no job \(sbatch: error: invalid account\); fix it, then rerun"
    ):
        engine.submit(0, task)
    engine.jobs[0] = SimpleNamespace(paths=SimpleNamespace(stderr=tmp_path / "1.err"))
    with pytest.raises(
        StoppedError, match=rf"jobs cannot run tasks \(No module named 'torch'\); see {tmp_path}/1.err$"
    ):
        engine.died(0, submitit.FailedJobError("Traceback\nNo module named 'torch'"))
