"""Engines on many machines that share a file system: Ray and Slurm."""

import logging
import os
import signal
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from introvae.errors import StoppedError, UserError
from introvae.files import write_atomically
from sweeps.engines.base import Engine, environment
from sweeps.tasks.task import Result, Task, run_task


class RayEngine(Engine):
    """Engine on a Ray cluster that is already there.

    Args:
        address: The cluster's address, HOST:PORT, or "auto" for the one that this machine belongs to.
        workers: Number of tasks at once; as many as fit the cluster if None.
        gpus: GPUs for each task, which may be a fraction; none if 0.

    Raises:
        UserError: If Ray is not installed, or there is no cluster at the address.
    """

    queues = True

    def __init__(self, address: str, workers: int | None, gpus: float) -> None:
        try:
            import ray
        except ImportError:
            raise UserError("--engine ray needs Ray; pip install 'introvae[ray]'") from None
        self.ray = ray
        before = signal.getsignal(signal.SIGTERM)  # Ray takes the signal for itself
        try:
            # Ray has its processes import from the current folder first, where a package may be called as one of ours
            with TemporaryDirectory() as empty, chdir(empty):
                ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"there is no Ray cluster at --address {address} ({reason}); see `ray start`") from None
        finally:
            signal.signal(signal.SIGTERM, before)
        there = ray.cluster_resources()
        fitting = int(there.get("GPU", 0) / gpus if gpus else there.get("CPU", 0))
        self.capacity = workers or fitting
        if not fitting:
            raise UserError(f"the Ray cluster has no {'GPU' if gpus else 'CPU'}; --gpus-per-trial is {gpus:g}")
        # with GPUs, Ray would start a process for each task, which imports PyTorch again
        self.remote = ray.remote(num_cpus=1, num_gpus=gpus, max_calls=0, max_retries=0)(_run_in)
        self.running: dict[int, tuple[Any, Task]] = {}

    def submit(self, worker: int, task: Task) -> "Future[Result]":
        """Run a task on any node."""
        reference = self.remote.remote(str(Path.cwd()), task)
        self.running[worker] = reference, task
        return reference.future()

    def kill(self, worker: int) -> None:
        """End the process that runs the task of a worker."""
        if running := self.running.pop(worker, None):
            self.ray.cancel(running[0], force=True)

    def died(self, worker: int, error: BaseException) -> tuple[str, bool]:
        """Give the reason that the process has left behind, or else name Ray's error."""
        if isinstance(error, self.ray.exceptions.RayTaskError):
            raise StoppedError(f"the Ray cluster cannot run tasks ({_last_line(error)})")
        reason = _reason_file(self.running[worker][1])
        if not reason.exists():
            return type(error).__name__, False
        text = reason.read_text(encoding="utf-8")
        reason.unlink()
        return text, True

    def close(self) -> None:
        """End the tasks that run, and leave the cluster."""
        for worker in list(self.running):
            self.kill(worker)
        self.ray.shutdown()


def _run_in(folder: str, task: Task) -> Result:
    """Run a task in the driver's folder, which relative paths begin at.

    A process whose task fails ends itself: it is of no use after an error of CUDA, and Ray would give it the next task.
    """
    os.chdir(folder)
    result = run_task(task)
    if result.reason:
        write_atomically(_reason_file(task), result.reason.encode())
        os._exit(1)
    return result


def _reason_file(task: Task) -> Path:
    return task.plan.folder / f".failed-{task.attempt}"


class SlurmEngine(Engine):
    """Engine that makes each task a job of Slurm, by submitit.

    Args:
        folder: Folder for the jobs' files.
        workers: Number of jobs at once.
        options: Parameters of submitit, such as {"slurm_partition": "gpu", "gpus_per_node": 1, "timeout_min": 240};
            "cluster" is "slurm", or "local" to try it without Slurm.

    Raises:
        UserError: If submitit is not installed, there is no Slurm, or a parameter is not known.
    """

    queues = True

    def __init__(self, folder: Path, workers: int, options: Mapping[str, Any]) -> None:
        try:
            import submitit
        except ImportError:
            raise UserError("--engine slurm needs submitit; pip install 'introvae[slurm]'") from None
        self.capacity = workers
        self.jobs: dict[int, Any] = {}
        given = {"name": folder.parent.name, "cluster": "slurm"} | dict(options)
        cluster = given.pop("cluster")
        try:
            self.executor = submitit.AutoExecutor(folder, cluster=cluster)
            self.executor.update_parameters(**given)
        except (RuntimeError, ValueError, NameError, TypeError, AssertionError) as error:
            reason = " ".join(str(error).split()).partition(". ")[0]  # a list of all parameters follows
            raise UserError(f"--slurm cannot be used ({reason})") from None

    def submit(self, worker: int, task: Task) -> "Future[Result]":
        """Submit a job that runs a task.

        Raises:
            StoppedError: If Slurm does not take the job.
        """
        import submitit.core.utils

        future: Future[Result] = Future()
        try:
            with environment():
                job = self.jobs[worker] = self.executor.submit(run_task, task)
        except submitit.core.utils.FailedSubmissionError as error:
            raise StoppedError(
                f"Slurm takes no job ({_last_line(error)}); fix it, then rerun the same command"
            ) from None

        def watch() -> None:
            try:
                result = job.result()
                for path in (job.paths.submitted_pickle, job.paths.result_pickle):
                    path.unlink(missing_ok=True)
            except Exception as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        threading.Thread(target=watch, daemon=True).start()  # a job whose end Slurm forgets is waited for in vain
        return future

    def kill(self, worker: int) -> None:
        """Cancel the job of a worker."""
        if job := self.jobs.pop(worker, None):
            job.cancel(check=False)

    def died(self, worker: int, error: BaseException) -> tuple[str, bool]:
        """Describe the job's state."""
        import submitit.core.utils

        job = self.jobs.pop(worker)
        if isinstance(error, submitit.core.utils.FailedJobError):
            raise StoppedError(f"jobs cannot run tasks ({_last_line(error)}); see {job.paths.stderr}")
        return f"job {job.job_id} {job.state.lower()}", False

    def close(self) -> None:
        """Cancel the jobs that run."""
        for worker in list(self.jobs):
            self.kill(worker)


def _last_line(error: BaseException) -> str:
    return str(error).strip().rpartition("\n")[2]
