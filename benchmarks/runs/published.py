"""Published settings and their predicted margin ratios: m over the KL of a VAE that the faces' covariance predicts.

    python benchmarks/runs/published.py --data celeba:ROOT        # or a folder of faces

The covariance is taken at 64 px and scaled to each setting's size: an image with s times the numbers has leading
eigenvalues s times as large. A table in Markdown, by predicted margin ratio.
"""

import argparse

from analysis.measures.spectrum import eigenvalues, predicted_kl
from introvae.config import TrainConfig
from introvae.data.image_set import load_images
from introvae.presets import load_preset, presets

SIZE = 64


def settings() -> dict[str, TrainConfig]:
    """Return the presets of published IntroVAEs."""
    configs = {name: TrainConfig.from_dict(load_preset(name)) for name in presets()}
    return {name: c for name, c in configs.items() if c.image_size > SIZE}  # smaller ones are ours


def row(name: str, config: TrainConfig, spectrum: list[float]) -> tuple[float, str]:
    """Return the predicted margin ratio, and the table's line."""
    beta = config.beta
    assert isinstance(beta, float)
    scale = (config.image_size / SIZE) ** 2
    kl = predicted_kl([scale * value for value in spectrum], beta, config.latent)
    beta_256 = beta * (config.image_size / 256) ** 2
    cells = [name, config.image_size, f"{config.alpha:g}", f"{beta:g}", f"{beta_256:.3g}", f"{config.m:g}",
             f"{kl:.0f}", f"{config.m / kl:.1f}"]  # fmt: skip
    return config.m / kl, "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, metavar="SET", help="faces in color")
    args = parser.parse_args()
    spectrum = eigenvalues(load_images(args.data, SIZE).train).tolist()
    print("| preset | px | alpha | beta | beta at 256 px | m | predicted KL | m/predicted KL |\n" + "|---" * 8 + "|")
    for _, line in sorted(row(name, config, spectrum) for name, config in settings().items()):
        print(line)


if __name__ == "__main__":
    main()
