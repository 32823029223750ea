"""Settings of a study that say where its trials run and what it searches, and their flags."""

from typing import Any

import pytest
from helpers import tiny_config

from introvae.errors import UserError
from sweeps.cli import command_line
from sweeps.config import FIELDS, StudyConfig
from sweeps.search.dimensions import Dimension, Linear


def test_by_default_a_study_runs_on_this_machine() -> None:
    config = StudyConfig()
    assert (config.engine, config.workers, config.address, config.gpus_per_trial) == ("local", None, None, 0.0)
    assert (config.slurm, config.processes_per_trial, config.silence) == ({}, 1, 900.0)


@pytest.mark.parametrize(("given", "message"), [
    ({"engine": "mpi"}, "--engine is 'mpi'; allowed: local, ray, slurm"),
    ({"engine": "ray"}, "--engine ray needs --address HOST:PORT"),
    ({"engine": "ray", "workers": 2}, "--engine ray needs --address HOST:PORT"),
    ({"engine": "slurm"}, "--engine slurm needs --workers N, the number of jobs at once"),
    ({"engine": "slurm", "workers": 2, "address": "auto"}, "--address is given without --engine ray"),
    ({"engine": "slurm", "workers": 2, "gpus_per_trial": 1}, "--gpus-per-trial is given without --engine ray"),
    ({"engine": "ray", "address": "auto", "slurm": {"mem_gb": 4}}, "--slurm is given without --engine slurm"),
    ({"address": "auto"}, "--address is given without --engine ray"),
    ({"gpus_per_trial": 0.5}, "--gpus-per-trial is given without --engine ray"),
    ({"slurm": {"mem_gb": 4}}, "--slurm is given without --engine slurm"),
    ({"gpus_per_trial": -0.5}, "--gpus-per-trial is -0.5; allowed: 0 or more"),
    ({"gpus_per_trial": float("inf")}, "--gpus-per-trial is inf; allowed: 0 or more"),
    ({"gpus_per_trial": float("nan")}, "--gpus-per-trial is nan; allowed: 0 or more"),
    ({"processes_per_trial": 0}, "--processes-per-trial is 0; allowed: 1 or more"),
    ({"processes_per_trial": 3}, "--processes-per-trial is 3; it takes a divisor of --batch-size, and no --norm batch"),
    ({"processes_per_trial": 2, "train": tiny_config(norm="batch")}, "--processes-per-trial is 2; it takes a divisor"),
    ({"silence": 0.5}, "--silence is 0.5; allowed: 1 or more"),
    ({"silence": float("nan")}, "--silence is nan; allowed: 1 or more"),
])  # fmt: skip
def test_what_an_engine_cannot_do_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as raised:
        StudyConfig(**{"train": tiny_config()} | given)
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize("given", [
    {"engine": "ray", "address": "auto"},
    {"engine": "ray", "address": "head:6379", "gpus_per_trial": 0.25},
    {"engine": "slurm", "workers": 4, "slurm": {"slurm_partition": "gpu", "gpus_per_node": 1}},
    {"engine": "slurm", "workers": 1},
    {"processes_per_trial": 4},
    {"processes_per_trial": 1, "train": tiny_config(norm="batch")},
    {"silence": float("inf")},
])  # fmt: skip
def test_what_an_engine_can_do_is_taken(given: dict[str, Any]) -> None:
    config = StudyConfig(**{"train": tiny_config()} | given)
    assert {name: getattr(config, name) for name in given} == given


@pytest.mark.parametrize(("flags", "expected"), [
    ("", {"engine": "local", "address": None, "gpus_per_trial": 0.0, "slurm": {}, "processes_per_trial": 1}),
    ("", {"silence": 900.0, "workers": None}),
    ("--engine ray --address head:6379 --gpus-per-trial 0.25",
     {"engine": "ray", "address": "head:6379", "gpus_per_trial": 0.25}),
    ("--engine slurm --workers 4 --slurm slurm_partition=gpu,gpus_per_node=1,timeout_min=240",
     {"engine": "slurm", "workers": 4, "slurm": {"slurm_partition": "gpu", "gpus_per_node": 1, "timeout_min": 240}}),
    ("--slurm slurm_time=1:00", {"slurm": {"slurm_time": "1:00"}}),
    ("--processes-per-trial 4 --silence 60", {"processes_per_trial": 4, "silence": 60.0}),
])  # fmt: skip
def test_flags_say_where_trials_run(flags: str, expected: dict[str, Any]) -> None:
    asked = vars(command_line().parse_args(flags.split()))
    assert expected.keys() <= set(FIELDS)
    assert {name: asked[name] for name in expected} == expected


@pytest.mark.parametrize(("flags", "expected"), [
    ("--alpha 0.1:0.5", {"alpha": (0.1, 0.5)}),
    ("--alpha lin:0:0.5 --m lin:5:50", {"alpha": Linear(0, 0.5), "m": Linear(5, 50)}),
    ("--search lr=1e-4:1e-3,norm=group,batch", {"lr": (1e-4, 1e-3), "norm": ("group", "batch")}),
    ("--search norm=group,none,lr=lin:0.001:0.002,network=plain",
     {"norm": ("group", "none"), "lr": Linear(1e-3, 2e-3), "network": ("plain",)}),
])  # fmt: skip
def test_flags_say_what_is_searched(flags: str, expected: dict[str, Dimension]) -> None:
    asked = vars(command_line().parse_args(flags.split()))
    found = asked["search"] or {name: asked[name] for name in ("alpha", "beta", "m") if asked[name]}
    assert found == expected
    assert {name: type(one) for name, one in found.items()} == {name: type(one) for name, one in expected.items()}


@pytest.mark.parametrize(("given", "message"), [
    ({"alpha": (0, 0.5)}, "--alpha is 0:0.5; LO must be more than 0 and HI no less than LO; lin:0:0.5 may begin at 0"),
    ({"beta": Linear(5, 1)}, "--beta is lin:5:1; LO must be 0 or more, and HI more than 0 and no less than LO"),
    ({"margin_ratio": Linear(-1, 4)}, "--margin-ratio is lin:-1:4; LO must be 0 or more"),
    ({"search": {"norm": ()}}, "--search norm is ; it takes one word or more, each once"),
    ({"search": {"lr": ("low", "high")}}, "--search lr is low,high; lr takes LO:HI or lin:LO:HI"),
    ({"search": {"norm": (1.0, 2.0)}}, "norm is '1.0'; allowed: group, batch, none"),
    ({"search": {"network": ("mlp",)}, "train": tiny_config(norm="none")}, "widths is (8, 8); allowed: 0 of them"),
])  # fmt: skip
def test_what_cannot_be_searched_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as raised:
        StudyConfig(**{"train": tiny_config()} | given)
    assert str(raised.value).startswith(message)


def test_processes_may_share_trials_without_batch_norm() -> None:
    searched: dict[str, Dimension] = {"norm": ("group", "none"), "lr": Linear(1e-3, 2e-3)}
    assert StudyConfig(train=tiny_config(), processes_per_trial=2, search=searched).search == searched
