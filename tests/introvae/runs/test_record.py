"""The record of a run comes back as it was written, and a broken one is named."""

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from introvae.errors import UserError
from introvae.runs.record import PARTS, SCORES, RunRecord, RunState, Scores, best_run, read_record, write_record

WHOLE = RunRecord(
    state=RunState.PRUNED,
    reason="score 0.5 at step 20",
    scores=Scores(score=0.5, stderr=0.01, **dict.fromkeys(PARTS, 0.5)),
    test=Scores(score=0.4, stderr=0.02, **dict.fromkeys(PARTS, 0.4)),
    weights={"sharpness": 2.0},
    optimized=0.25,
    measures={"kl": 12.5, "kl_per_dimension": [0.5, 1.0]},
    test_measures={"kid": 3.5},
)


@pytest.mark.parametrize("record", [WHOLE, RunRecord(state=RunState.DIVERGED, scores=Scores(score=0.0))])
def test_a_record_comes_back(tmp_path: Path, record: RunRecord) -> None:
    assert read_record(tmp_path) is None
    write_record(tmp_path, record)
    found = read_record(tmp_path)
    assert found is not None and found.to_dict() == record.to_dict()
    assert (found.state, found.reason, found.weights) == (record.state, record.reason, record.weights)
    assert (found.test, found.test_measures) == (record.test, record.test_measures)
    assert math.isnan(found.scores.stderr) == math.isnan(record.scores.stderr)


def test_what_is_not_known_is_absent() -> None:
    values = RunRecord(state=RunState.DIVERGED, reason="why", scores=Scores(score=0.0)).to_dict()
    assert values == {"state": "diverged", "reason": "why", "score": 0.0}


@pytest.mark.parametrize(("content", "message"), [
    ("{", "cannot read .*scores.json"),
    ("[1]", "it holds no table"),
    ("{}", "state is None"),
    ('{"state": "running", "score": 0.5}', "state is 'running'; known: complete, pruned"),
    ('{"state": "complete"}', "score is None"),
    ('{"state": "complete", "score": 1.5}', "score is 1.5; it takes a number from 0 to 1"),
    ('{"state": "complete", "score": 0.5, "stderr": []}', r"stderr is \[\]"),
    ('{"state": "complete", "score": 0.5, "weights": [1]}', r"weights is \[1\]"),
    ('{"state": "complete", "score": 0.5, "test": 0.5}', "test is 0.5; it takes a table"),
    ('{"state": "complete", "score": 0.5, "test": {"stderr": 0.5}}', "test.score is None; it takes"),
    ('{"state": "complete", "score": 0.5, "test": {"score": 0.5, "stderr": -1}}', "test.stderr is -1"),
    ('{"state": "complete", "score": 0.5, "test": {"score": 0.5, "measures": 1}}', "test.measures is 1; it takes"),
    ('{"state": "complete", "score": 0.5, "reason": [1]}', r"reason is \[1\]; it takes a text"),
    ('{"state": "complete", "score": 0.5, "weights": {"sharpness": 1}}', "weights are given without optimized"),
    ('{"state": "complete", "score": 0.5, "optimized": 1, "weights": {"sharp": 1}}', r"weights has \{'sharp': 1\}"),
    ('{"state": "complete", "score": 0.5, "optimized": 1, "weights": {"structure": -1}}', "it takes numbers above 0"),
    ('{"state": "complete", "score": 0.5, "measures": {"psnr": "x"}}', "measures.psnr is 'x'; it takes a number"),
    ('{"state": "complete", "score": 0.5, "measures": ' + '{"a":' * 900 + "1" + "}" * 901, "cannot read .*measures.a"),
])  # fmt: skip
def test_a_broken_record_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / SCORES).write_text(content)
    with pytest.raises(UserError, match=message) as refused:
        read_record(tmp_path)
    assert str(refused.value).startswith(f"cannot read {tmp_path / SCORES}: ")
    assert str(refused.value).endswith("; restore or remove the file")


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / SCORES)
    with pytest.raises(UserError, match=r"scores.json: it is not a file"):
        read_record(tmp_path)


def test_a_reason_is_one_line_of_text(tmp_path: Path) -> None:
    (tmp_path / SCORES).write_text(r'{"state": "failed", "score": 0, "reason": "\u001b[31mout\nof\u0000\ud800"}')
    record = read_record(tmp_path)
    assert record and record.reason == " [31mout of  "


def test_a_record_of_a_version_without_a_test_is_read(tmp_path: Path) -> None:
    (tmp_path / SCORES).write_text('{"state": "complete", "reason": "", "score": 0.5, "measures": {"kl": 3.5}}')
    record = read_record(tmp_path)
    assert record and record.test is None and record.scores.score == 0.5 and "test" not in record.to_dict()


def test_states_say_what_they_mean() -> None:
    def having(trait: str) -> set[str]:
        return {state.value for state in RunState if getattr(state, trait)}

    assert having("ranked") == {"complete", "pruned"}
    assert having("failed") == {"collapsed", "diverged", "failed"}
    assert having("ended") == {"complete", "pruned", "collapsed", "diverged", "failed"}
    assert having("final") == {"complete", "collapsed", "diverged"}
    assert len({state.symbol for state in RunState}) == len(RunState)


def written(folder: Path, **values: Any) -> Path:
    folder.mkdir(parents=True)
    (folder / SCORES).write_text(json.dumps(values))
    return folder


def test_the_best_run_is_complete_and_has_the_best_of_what_its_study_maximized(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no complete run"):
        best_run(tmp_path)
    written(tmp_path / "pruned", state="pruned", score=1.0)
    written(tmp_path / "sharp", state="complete", score=0.9, optimized=0.1)
    best = written(tmp_path / "best", state="complete", score=0.2, optimized=0.8)
    assert best_run(tmp_path) == best


def test_the_best_run_is_one_that_a_report_reads(tmp_path: Path) -> None:
    """A link to a run, and what a killed copy of one has left, are no runs of the study."""
    best = written(tmp_path / "trial-000", state="complete", score=0.2)
    written(tmp_path / ".0123.part", state="complete", score=0.9)
    (tmp_path / "best").symlink_to(best)
    assert best_run(tmp_path) == best


def test_a_broken_record_leaves_the_other_runs_to_choose_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best = written(tmp_path / "best", state="complete", score=0.2)
    empty = written(tmp_path / "empty")
    assert best_run(tmp_path) == best
    error = capsys.readouterr().err
    assert error.startswith(f"warning: cannot read {empty / SCORES}: state is None; known: complete, ")
    assert error.count("\n") == 1
