"""Search alpha, beta and m, and log every trial that has ended to MLflow; W&B and others are called in the same places.

    pip install mlflow-skinny
    python examples/log_elsewhere.py [--out FOLDER] [--trials N] [--steps N]

MLflow keeps what it is given in FOLDER/mlflow.db, unless MLFLOW_TRACKING_URI names a server.
"""

import argparse
import os
from pathlib import Path

import mlflow
import optuna

from introvae import TrainConfig
from introvae.errors import UserError
from introvae.runs.folder import read_metrics
from introvae.runs.record import read_record
from sweeps import StudyConfig, run_study


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("predictions/logged"), metavar="FOLDER", help="for the study")
    parser.add_argument("--trials", type=int, default=4, metavar="N", help="trials [4]")
    parser.add_argument("--steps", type=int, default=600, metavar="N", help="half of them as a plain VAE [600]")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if "MLFLOW_TRACKING_URI" not in os.environ:
        mlflow.set_tracking_uri(f"sqlite:///{args.out.resolve() / 'mlflow.db'}")

    def log(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        """Log a trial: its setting, its metrics.csv by step, and its score."""
        run = args.out / "study" / f"trial-{trial.number:03d}"
        record = read_record(run)
        with mlflow.start_run(run_name=run.name):
            mlflow.log_params(trial.params)
            for row in read_metrics(run):
                step = int(row.pop("step"))
                mlflow.log_metrics({name: value for name, value in row.items() if value == value}, step)
            if record:
                mlflow.log_metric("score", record.scores.score)
                mlflow.set_tag("state", record.state.value)

    train = TrainConfig(steps=args.steps, warmup_steps=args.steps // 2, checkpoint_every=100, picture_every=100)
    run_study(StudyConfig(train=train, trials=args.trials, out=args.out, study="study"), callbacks=[log])


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(f"log_elsewhere: {error}") from error
