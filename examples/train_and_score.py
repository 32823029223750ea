"""Train a small IntroVAE on the built-in faces, score it, and draw samples and a report.

    python examples/train_and_score.py [--out FOLDER] [--steps N]

Takes about a minute on two CPU cores. More steps give better faces; the same command resumes an interrupted run.
"""

import argparse
from pathlib import Path

from PIL import Image

import introvae
from analysis import write_report
from analysis.evaluate import finish
from introvae import TrainConfig, Trainer
from introvae.errors import UserError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("predictions/example"), metavar="FOLDER", help="for the run")
    parser.add_argument("--steps", type=int, default=600, metavar="N", help="half of them as a plain VAE [600]")
    args = parser.parse_args()

    # beta weighs 1/2 the squared error summed over pixels, and m is a margin in nats: about twice the KL of a VAE.
    config = TrainConfig(
        data="orl-faces", image_size=32, channels=1, alpha=0.25, beta=30.0, m=70.0,
        steps=args.steps, warmup_steps=args.steps // 2, checkpoint_every=100, picture_every=100,
    )  # fmt: skip
    images = introvae.load_images(config.data, config.image_size)
    run = args.out / "run"
    trainer = Trainer(config, images, run)
    trainer.run(on_log=lambda row: print(f"step {row['step']:.0f}: KL {row['kl_real']:.1f} nats"))

    record = finish(run, config, images, trainer.evaluated)  # measures, curves and pictures, beside scores.json
    print(f"{record.state}: score {record.scores.score:.3f} ± {record.scores.stderr:.3f} {record.reason}")

    model = introvae.load_run(run)
    samples = model.sample(16, seed=0)  # float (16, 1, 32, 32) in [0, 1]
    sheet = samples.unflatten(0, (4, 4)).permute(0, 3, 1, 4, 2).reshape(4 * 32, 4 * 32)
    Image.fromarray((sheet * 255).round().byte().cpu().numpy()).resize((512, 512), 0).save(args.out / "samples.png")

    written = [str(path) for path in write_report(args.out)]
    print("written:", ", ".join([*written, str(args.out / "samples.png")]))


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(f"train_and_score: {error}") from error
