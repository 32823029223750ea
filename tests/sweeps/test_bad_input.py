"""Studies that cannot be run are refused: one line with what and why, exit code 2, and nothing on disk changes."""

from pathlib import Path

import pytest
from helpers import tiny_flags
from refusals import assert_refused, write_bad_files

from sweeps.cli import main

SWEEP = [
    ("--trials 0", "--trials is 0; allowed: 1 or more"),
    ("--preset soft-cifar10", "--objective is soft, which has no m"),
    ("--trials many", "invalid int value: 'many'"),
    ("--alpha 1:0.1", "HI no less than LO"),
    ("--alpha 0:1", "LO must be more than 0"),
    ("--beta 1:nan", "'1:nan': LO must be"),
    ("--beta 1:inf", "'1:inf': LO must be"),
    ("--beta=-1:5", "LO must be more than 0"),
    ("--m=-2:1", "'-2:1': LO must be"),
    ("--m 5", "'5' is no range; it takes LO:HI"),
    ("--m 1:2:3", "'1:2:3' is no range"),
    ("--alpha 0:0.5", "LO must be more than 0 and HI no less than LO; lin:0:0.5 may begin at 0"),
    ("--alpha lin:5:1", "'lin:5:1': LO must be 0 or more, and HI more than 0 and no less than LO"),
    ("--beta lin:-1:1", "'lin:-1:1': LO must be 0 or more"),
    ("--beta lin:0:0", "'lin:0:0': LO must be 0 or more, and HI more than 0"),
    ("--m lin:0:inf", "'lin:0:inf': LO must be 0 or more"),
    ("--m lin:nan:1", "'lin:nan:1': LO must be 0 or more"),
    ("--m lin:5", "'lin:5' is no range; it takes LO:HI or lin:LO:HI"),
    ("--m lin:lin:1:2", "'lin:lin:1:2' is no range"),
    ("--m log:1:2", "'log:1:2' is no range"),
    ("--fix alpha", "'alpha' cannot be read; --fix takes NAME=X,..., such as alpha=0.25"),
    ("--fix alpha=much", "'alpha=much' cannot be read; --fix takes"),
    ("--fix alpha=1,alpha=2", "'alpha=1,alpha=2' names something twice"),
    ("--fix lr=1", "--fix has no 'lr'; it takes alpha, beta, m, margin_ratio"),
    ("--fix alpha=0", "--fix alpha is 0.0; allowed: a finite number, more than 0"),
    ("--fix beta=nan", "--fix beta is nan; allowed"),
    ("--fix beta=5 --beta 1:2", "--fix beta is 5.0, and --beta gives a range; give one of them"),
    ("--fix m=5,margin_ratio=4", "--fix margin_ratio has no effect where m is given"),
    ("--fix margin_ratio=4 --m 5:6", "--fix margin_ratio has no effect where m is given"),
    ("--search lr", "'lr' cannot be read; --search takes NAME=LO:HI,..., such as lr=1e-4:1e-3"),
    ("--search lr=1", "'1' is no range; it takes LO:HI"),
    ("--search lr=0:1", "'0:1': LO must be more than 0"),
    ("--search lr=1:2,lr=1:3", "names something twice"),
    ("--search steps=10:20", "--search has no 'steps'; it takes latent, alpha_decoder, kl_weight, batch_size, lr"),
    ("--search alpha=1:2", "--search has no 'alpha'"),
    ("--search latent=2.5:8", "--search latent is 2.5:8.0; latent takes whole numbers"),
    ("--search latent=8:100000", "latent is 100000; allowed: 1 to 65536"),
    ("--search ema_decay=0.9:1", "ema_decay is 1.0; allowed: 0 or more, less than 1"),
    ("--search lr=lin:0:0.001", "lr is 0.0; allowed: more than 0"),
    ("--search latent=lin:2.5:8", "--search latent is lin:2.5:8.0; latent takes whole numbers"),
    ("--search lr=1e-4,1e-3", "'1e-4,1e-3' is no range; it takes LO:HI"),
    ("--search norm", "'norm' cannot be read; --search takes NAME=LO:HI,..., such as lr=1e-4:1e-3, or NAME=WORD,..."),
    ("--search group,none", "'group,none' cannot be read; --search takes"),
    ("--search norm=", "norm is ''; allowed: group, batch, none"),
    ("--search norm=group,", "norm is ''; allowed: group, batch, none"),
    ("--search norm=group,foo", "norm is 'foo'; allowed: group, batch, none"),
    ("--search norm=lin:1:2", "norm is 'lin:1:2'; allowed: group, batch, none"),
    ("--search norm=none,group,none", "--search norm is none,group,none; it takes one word or more, each once"),
    ("--search norm=group,norm=none", "names something twice"),
    ("--search output=linear", "--search has no 'output'; it takes latent, "),
    ("--search network=plain,mlp", "norm is 'group'; allowed: none, as network mlp has no convolutions"),
    ("--search hinge=batch,mean", "hinge is 'mean'; allowed: sample, batch"),
    ("--search norm=group,batch --processes-per-trial 2", "--processes-per-trial is 2; it takes no --search of"),
    ("--search batch_size=4:8 --processes-per-trial 2", "takes no --search of batch_size or norm batch"),
    (
        "--points nowhere",
        "there is no file nowhere; --points takes a CSV file, a study's folder or one of beta-comparison",
    ),
    ("--points empty", "there is no run below empty"),
    ("--like empty", "there is no run below empty"),
    ("--m 5:6 --margin-ratio 2:3", "--margin-ratio has no effect where m is given; give one of them"),
    ("--keep few", "'few' is no number of trials; it takes one, or all"),
    ("--points picture.png", "cannot read picture.png"),
    ("--points none.csv", "none.csv holds no point; it takes a line of names, then a line for each point"),
    ("--points other.csv", "other.csv has a column 'betta'; did you mean 'beta'?"),
    ("--points lr.csv", "lr.csv has a column 'lr'; it takes alpha, beta, beta_256, m, m_256, margin_ratio, seed"),
    ("--points ratio.csv", "ratio.csv has a column 'm/KL'; it takes alpha, beta, beta_256, m, m_256, margin_ratio"),
    ("--points twice.csv", "twice.csv has a column twice: beta, beta"),
    ("--points short.csv", "short.csv, line 3 has not as many cells as the first line"),
    ("--points long.csv", "long.csv, line 2 has not as many cells as the first line"),
    ("--points word.csv", "word.csv, line 2: alpha is 'much'; it takes a number"),
    ("--points negative.csv", "negative.csv, line 2: alpha is -1.0; allowed: a finite number, 0 or more"),
    ("--points nan.csv", "nan.csv, line 2: m is nan; allowed: a finite number"),
    ("--points seed.csv", "seed.csv, line 2: seed is '1.5'; it takes a whole number"),
    (
        "--points large.csv",
        "large.csv, line 2: seed is 9223372036854775808; allowed: a whole number of at most 63 bits",
    ),
    ("--points both.csv", "both.csv, line 2: m and margin_ratio are both given; give one of them"),
    ("--points betas.csv", "betas.csv, line 2: beta and beta_256 are both given"),
    ("--points alone.csv", "alone.csv, line 2: m_256 is given without margin_ratio"),
    ("--seeds 1", "--seeds is 1; allowed: 2 or more"),
    ("--budget 0", "--budget is 0; allowed: 1 or more"),
    ("--budget 11", "--budget is 11; one trial takes 12 steps after its warm-up"),
    ("--hours 0", "--hours is 0.0; allowed: more than 0"),
    ("--hours nan", "--hours is nan; allowed: more than 0"),
    ("--patience 0", "--patience is 0; allowed: 1 or more"),
    ("--seeds few", "invalid int value: 'few'"),
    ("--sampler best", "invalid choice: 'best'"),
    ("--pruner all", "invalid choice: 'all'"),
    ("--study ..", "--study is '..'; it takes a name"),
    ("--study a/b", "--study is 'a/b'; it takes a name for a folder"),
    ("--steps 5", "warmup_steps is 8; allowed: 0 to steps (5)"),
    ("--data nowhere", "there is no folder nowhere"),
    ("--betta 1:2", "unrecognized arguments: --betta 1:2; did you mean --beta?"),
    ("--lr nan", "lr is nan; allowed"),
    ("--data empty", "the folder empty holds no images"),
    ("--config bad.toml", "cannot read bad.toml"),
    ("--device cuda:99", "--device cuda:99 is not on this machine"),
    ("--workers 0", "--workers is 0; allowed: 1 or more"),
    ("--workers two", "invalid int value: 'two'"),
    ("--silence 0", "--silence is 0.0; allowed: 1 or more"),
    ("--silence nan", "--silence is nan; allowed: 1 or more"),
    ("--engine mpi", "invalid choice: 'mpi'"),
    ("--engine ray", "--engine ray needs --address HOST:PORT of the cluster, or --address auto on one of its nodes"),
    ("--engine slurm", "--engine slurm needs --workers N, the number of jobs at once"),
    ("--address auto", "--address is given without --engine ray"),
    ("--gpus-per-trial 0.5", "--gpus-per-trial is given without --engine ray"),
    ("--gpus-per-trial -1", "--gpus-per-trial is -1.0; allowed: 0 or more"),
    ("--gpus-per-trial inf", "--gpus-per-trial is inf; allowed: 0 or more"),
    ("--gpus-per-trial nan", "--gpus-per-trial is nan; allowed: 0 or more"),
    ("--gpus-per-trial half", "invalid float value: 'half'"),
    ("--slurm mem_gb=4", "--slurm is given without --engine slurm"),
    ("--slurm mem_gb", "'mem_gb' cannot be read; --slurm takes NAME=X,..., such as gpus_per_node=1"),
    ("--slurm mem_gb=4,5", "'mem_gb=4,5' cannot be read; --slurm takes"),
    ("--slurm mem_gb=4,mem_gb=5", "'mem_gb=4,mem_gb=5' names something twice; --slurm takes"),
    ("--processes-per-trial 0", "--processes-per-trial is 0; allowed: 1 or more"),
    ("--processes-per-trial 3", "--processes-per-trial is 3; it takes a divisor of --batch-size, and no --norm batch"),
    ("--processes-per-trial 2 --norm batch", "--processes-per-trial is 2; it takes a divisor of --batch-size, and no"),
    ("--keep 0", "--keep is 0; allowed: 1 or more"),
    ("--trial-timeout nan", "--trial-timeout is nan; allowed: 1 or more"),
    ("--storage sqlite:///study.db", "unrecognized arguments: --storage"),
]

POINTS = {
    "none": "alpha,beta\n", "other": "betta\n1\n", "lr": "lr\n1\n", "twice": "beta,beta\n1,2\n",
    "short": "alpha,beta\n1,2\n1\n", "long": "alpha,beta\n1,2,3\n", "word": "alpha\nmuch\n", "nan": "m\nnan\n",
    "negative": "alpha\n-1\n", "seed": "seed\n1.5\n", "large": "seed\n9223372036854775808\n",
    "both": "m,margin_ratio\n1,2\n", "betas": "beta,beta_256\n1,2\n",
    "alone": "m_256\n500\n", "ratio": "beta,m/KL\n1,2\n",
}  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working folder holds nothing that can be trained on."""
    monkeypatch.chdir(tmp_path)
    write_bad_files()
    for name, text in POINTS.items():
        Path(f"{name}.csv").write_text(text)


@pytest.mark.parametrize(("flags", "message"), SWEEP)
def test_a_study_is_refused(flags: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    tiny = tiny_flags("alpha", "beta", "m")
    assert_refused(main, [*tiny, "--device", "cpu", "--out", "studies", *flags.split()], message, capsys)
