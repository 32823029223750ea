"""The card of a study's winner."""

from pathlib import Path

import pytest
from studies import make_run

from analysis.report.card import card
from analysis.report.runs import read_runs


def test_a_winner_is_shown_with_the_command_that_trains_it_longer(tmp_path: Path) -> None:
    folder, again = tmp_path / "my faces", tmp_path / "again"
    for name, score in (("trial-000", 0.4), ("trial-001", 0.6)):
        make_run(folder / name, score=score, alpha=0.2)
    make_run(folder / "trial-002", "pruned", 0.9, alpha=0.3)  # which was worth more than it, early
    for seed in range(2):
        make_run(again / f"trial-00{seed}", score=0.5 + seed / 10, alpha=0.2, seed=seed)
    runs = read_runs(folder)
    lines = str(card(folder, runs)).splitlines()
    assert lines[0].startswith("winner: trial-001, alpha 0.2, beta ") and " nats" in lines[0]
    assert lines[1] == f"  test score {runs[1].test.score:.3f} ± {runs[1].test.stderr:.3f}"
    assert Path(lines[2].removeprefix("  pictures: ")).exists()
    words = lines[3].removeprefix("  longer: introvae-train ")
    assert f"--from '{folder}' --best --steps " in words and words.endswith(f"--out '{folder}-longer'")
    (first, *_) = str(card(folder, runs, searched=["norm", "lr", "latent"])).splitlines()
    assert first == f"{lines[0]}, norm group, lr 0.001, latent 8"
    assert str(card(folder, runs, read_runs(again))).splitlines()[1].endswith("; over 2 new seeds 0.495 ± 0.064")


@pytest.mark.parametrize("state", ["diverged", "pruned"])
def test_without_a_complete_run_there_is_none(state: str, tmp_path: Path) -> None:
    make_run(tmp_path / "trial-000", state, 0.0)
    assert card(tmp_path, read_runs(tmp_path)) is None


def test_a_winner_that_cannot_be_read_is_not_shown(tmp_path: Path) -> None:
    make_run(tmp_path / "trial-000", score=0.4)
    (make_run(tmp_path / "trial-001", score=0.6) / "metrics.csv").write_text("step\n1\n")
    assert card(tmp_path, read_runs(tmp_path)) is None


def test_a_link_to_the_winner_is_no_run_of_its_own(tmp_path: Path) -> None:
    winner = make_run(tmp_path / "trial-000", score=0.4)
    (tmp_path / "best").symlink_to(winner)
    assert str(card(tmp_path, read_runs(tmp_path))).startswith("winner: trial-000, ")


@pytest.mark.parametrize("place", [".", "inside/.."])
def test_the_command_names_a_folder_where_the_study_is_the_current_one(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(tmp_path / "faces" / "trial-000")
    (tmp_path / "faces" / "inside").mkdir()
    monkeypatch.chdir(tmp_path / "faces")
    out = tmp_path / "faces-longer"
    assert str(card(Path(place), read_runs(place))).endswith(f"--from {place} --best --steps 80 --out {out}")
