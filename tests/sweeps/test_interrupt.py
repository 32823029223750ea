"""Ctrl-C and SIGTERM: the first one asks a study to stop, the second ends it, and other code has its handlers back."""

import os
import signal
from pathlib import Path

import pytest
from driven import Drawing, complete, drawn_study
from optuna.trial import TrialState
from waiting import wait_until

from sweeps.engines.local import InlineEngine
from sweeps.interrupt import Interrupt
from sweeps.search.space import Space
from sweeps.tasks.task import Result, Task

SPACE = Space(alpha=(0.1, 1.0), beta=(1.0, 100.0), margin_ratio=(1.0, 4.0))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_ends_a_study_in_order_and_the_same_call_continues_it(
    number: signal.Signals, tmp_path: Path
) -> None:
    """The signal comes amid the second trial, whose worker then leaves without a result."""
    before = signal.getsignal(number)

    def judge(task: Task) -> Result:
        if task.plan.folder.name == "trial-001" and not stop():
            os.kill(os.getpid(), number)
            wait_until(stop)
            return Result(step=0)
        return complete(task, 0.5)

    with Interrupt() as stop:
        study = drawn_study(tmp_path / "study", SPACE, 3, InlineEngine(Drawing(judge)), stop=stop)
        assert stop.received == number
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE, TrialState.RUNNING]
    assert signal.getsignal(number) is before
    with Interrupt() as stop:
        study = drawn_study(tmp_path / "study", SPACE, 3, InlineEngine(Drawing()), stop=stop)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 3


def test_the_second_signal_ends_it_now(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), Interrupt() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        wait_until(stop)
        os.kill(os.getpid(), signal.SIGTERM)
        wait_until(lambda: False, 60)
    wait_until(lambda: "repeat to stop at once" in capsys.readouterr().err)
