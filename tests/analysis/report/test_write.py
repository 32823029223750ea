"""Files that a report writes beside the runs, and the runs that it draws."""

from pathlib import Path

import pandas as pd
import pytest
from permissions import bound_by_permissions
from PIL import Image
from studies import make_run, make_study

from analysis.report.runs import Run, read_runs
from analysis.report.table import ranked
from analysis.report.write import best_and_worst, named, report_files, write_report
from introvae.errors import UserError


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return make_study(tmp_path / tmp_path.name)


@pytest.fixture
def runs(study: Path) -> list[Run]:
    return ranked(read_runs(study))


def names(runs: list[Run]) -> list[str]:
    return [run.name for run in runs]


def test_summaries_and_a_grid_are_written_beside_the_runs(study: Path, runs: list[Run]) -> None:
    before = set(study.iterdir())
    written = write_report(study, files=report_files(runs, "faces"), drawn=runs[:2])
    assert set(study.iterdir()) - before == set(written)
    assert {"summary.csv", "summary.md", "comparison.png"} <= {path.name for path in written}
    assert pd.read_csv(study / "summary.csv")["run"].to_list() == names(runs)
    assert (study / "summary.md").read_text().startswith("# faces\n")
    with Image.open(study / "comparison.png") as grid:
        two = grid.height
    write_report(study, files=report_files(runs, "faces"), drawn=runs[:3])
    with Image.open(study / "comparison.png") as grid:
        assert grid.height > two


def test_without_pictures_there_is_no_grid(study: Path, runs: list[Run]) -> None:
    files = report_files(runs, "faces")
    assert runs[-1].name == "bad"  # which has no picture
    for drawn, there in (([], False), (runs[-1:], False), (runs[-2:], True)):
        assert (study / "comparison.png" in write_report(study, files=files, drawn=drawn)) == there


def test_the_best_and_the_worst_are_drawn(runs: list[Run]) -> None:
    pictured = names(runs)[:-1]
    assert names(best_and_worst(runs)) == pictured
    assert names(best_and_worst(runs, 3)) == [*pictured[:2], pictured[-1]]
    assert names(best_and_worst(runs, 2)) == [pictured[0], pictured[-1]]


def test_runs_are_named_as_in_the_table_or_by_their_folder(
    study: Path, runs: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(study)
    for name in ("study/trial-000", str(study / "study" / "trial-000"), "study/../study/trial-000/"):
        assert names(named(study, runs, [name])) == ["study/trial-000"]
    assert names(named(study, runs, ["bad", "alone", "alone"])) == ["alone", "bad"]
    with pytest.raises(UserError, match="there is no run 'nothing' below"):
        named(study, runs, ["alone", "nothing"])


def test_a_folder_that_cannot_be_written_is_said(study: Path, runs: list[Run]) -> None:
    study.chmod(0o500)
    with bound_by_permissions(), pytest.raises(UserError, match=r"cannot write the report into .*Permission denied; "):
        write_report(study, files=report_files(runs, "faces"), drawn=runs[:1])


def test_odd_names_are_written(tmp_path: Path) -> None:
    make_run(tmp_path / 'a,"b"\n<script>|é\'', score=0.25)
    runs = read_runs(tmp_path)
    write_report(tmp_path, files=report_files(runs, "\udcff"), drawn=runs)
    assert pd.read_csv(tmp_path / "summary.csv")["run"].to_list() == names(runs)
