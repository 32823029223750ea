"""Charts of what the training images predict of a VAE, beside what the runs have come to."""

import numpy as np

from analysis.measures.spectrum import predicted_active_units, predicted_kl
from analysis.report.charts.chart import PARAMETERS, Chart, Points, collapse_level, series_of, with_numbers

BETAS = 100  # points of a predicted curve


def predicted_against_measured(points: Points) -> Chart | None:
    """Chart the KL predicted of a VAE, from the data alone and corrected by the warm-up, against the measured KL."""
    kinds = {"vae_kl": "corrected by the warm-up", "predicted_kl": "linear VAE"}
    drawn = [
        series_of(shown, name, "kl", label)
        for name, label in kinds.items()
        if (shown := with_numbers(points, log=[name, "kl"]))
    ]
    if not drawn:
        return None
    panel = {"x": "predicted KL [nats]", "y": "measured KL [nats]", "xLog": True, "yLog": True, "points": drawn,
             "diagonal": "equal"}  # fmt: skip
    caption = "On the dashed line, a run's code holds as much of its images as a plain VAE's with the same beta."
    return Chart(name="kl", title="Predicted and measured KL", caption=caption, panels=[panel])


def prediction(points: Points) -> Chart | None:
    """Chart KL and active units: those of runs, and those that the training images predict of a VAE at any beta."""
    known = next(((run.config, run.lists["spectrum"]) for run, _ in points if run.lists.get("spectrum")), None)
    shown = with_numbers(points, log=["beta"], linear=["kl"])
    if not known or known[0] is None or not shown:
        return None
    latent, spectrum = known[0].latent, known[1]
    limit = 1 / spectrum[0]
    ends = [limit, *(values["beta"] for _, values in shown)]
    betas = np.geomspace(min(ends) / 2, max(ends) * 2, BETAS).tolist()
    curves = {
        "kl": ("KL [nats]", [predicted_kl(spectrum, beta, latent) for beta in betas]),
        "active_units": ("active units", [predicted_active_units(spectrum, beta, latent) for beta in betas]),
    }
    panels = [
        {"x": PARAMETERS["beta"], "y": label, "xLog": True, "yLog": False, "levels": [collapse_level(limit)],
         "lines": [{"label": "linear VAE", "x": betas, "y": curve}],
         "points": [series_of(with_numbers(shown, linear=[name]), "beta", name)], "legend": name == "kl"}
        for name, (label, curve) in curves.items()
    ]  # fmt: skip
    caption = (
        f"Lines: a linear VAE with {latent} latent dimensions, predicted from the covariance of the training images "
        "alone. It collapses left of the dashed line. Points: the runs, which the adversarial game moves away from it. "
        "Their active units are the latent dimensions whose mean varies by more than 0.01."
    )
    return Chart(name="prediction", title="What the data predict", caption=caption, panels=panels)
