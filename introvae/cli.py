"""introvae-train: one training in one run folder."""

import hashlib
import sys
from dataclasses import replace
from pathlib import Path

from introvae.config import TrainConfig
from introvae.options import DEVICE_HELP, PREDICTIONS, Parser, add_config_options, config_from, run_command

DESCRIPTION = "Train an IntroVAE, or with --alpha 0 a VAE. The same command continues a run that was cut off."
EPILOG = (
    "ALPHA, BETA and KL-WEIGHT also take a schedule over steps: --alpha 0:0,20000:0,30000:0.25. "
    "Images are in [0, 1], m and every KL in nats."
)


def command_line() -> Parser:
    parser = Parser("introvae-train", "[options]", DESCRIPTION, EPILOG)
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="run folder [predictions/NAME-OF-THE-SETTINGS]")
    parser.add_argument("--device", default="auto", metavar="NAME", help=f"{DEVICE_HELP} [auto]")
    add_config_options(parser, leave_out=("warmup_seed",))
    return parser


def main(argv: list[str] | None = None) -> int:
    args = command_line().parse_args(argv)
    return run_command("introvae-train", lambda: train(config_from(args), args.out, args.device))


def train(config: TrainConfig, out: Path | None, device_name: str) -> None:
    """Train to the end, then score. This is the one place in the package that looks at the analysis."""
    from analysis.score import measure_run
    from analysis.spectrum import eigenvalues, vae_kl
    from introvae.data import load_images
    from introvae.device import choose_device
    from introvae.errors import DivergedError
    from introvae.pictures import last_picture
    from introvae.progress import progress
    from introvae.run import lock, read_metrics, read_scores, write_scores
    from introvae.trainer import Trainer

    device = choose_device(device_name)
    folder = out or PREDICTIONS / run_name(config)
    images = load_images(config.data, config.image_size, config.channels, config.seed)
    config = replace(config, channels=images.channels)
    with lock(folder):
        trainer = Trainer(config, images, folder, device)
        scores = read_scores(folder)
        if scores is None:
            if trainer.step:
                print(f"{folder}: continuing at step {trainer.step}", file=sys.stderr)
            try:
                with progress(config.steps, trainer.step, folder.name) as on_log:
                    trainer.run(on_log=on_log)
            except DivergedError as error:
                trainer.finish()
                write_scores(folder, {"state": "diverged", "reason": str(error), "score": 0.0})
                raise
            expected_kl = vae_kl(config, eigenvalues(images.train), read_metrics(folder))
            scores = {"state": "complete"} | measure_run(trainer.model, images, config, expected_kl)
            trainer.finish()
            write_scores(folder, scores)
    print(f"{folder}: {scores['state']}, score {scores['score']:.3f}; {last_picture(folder)}")
    print(f"next: introvae-report {folder.parent}")


def run_name(config: TrainConfig) -> str:
    """The same settings have the same name, so that the same command finds its run again."""
    from introvae.config import dump_toml

    data = Path(config.data.split(":")[0]).name
    numbers = [("alpha", config.alpha), ("beta", config.beta), ("m", config.m)]
    shown = [f"{name}{value:g}" if isinstance(value, float) else f"{name}-schedule" for name, value in numbers]
    digest = hashlib.sha256(dump_toml(config.to_dict()).encode()).hexdigest()[:6]
    return "-".join([data, *shown, digest])


if __name__ == "__main__":
    raise SystemExit(main())
