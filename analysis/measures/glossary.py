"""Glossary of scores.json: the unit and the meaning of each number, group -> name -> (unit, meaning)."""

from collections.abc import Mapping

Entries = Mapping[str, tuple[str, str]]

SCORE: Entries = {
    "score": ("0 to 1", "geometric mean of the five parts; 1 is best"),
    "stderr": ("0 to 1", "standard error of the score over the scored images"),
    "reconstruction": ("0 to 1", "likeness of reconstructions to their inputs, by a network's features of details"),
    "sharpness": ("0 to 1", "power of real images at every frequency; lowered by blur, noise, stripes and lost color"),
    "structure": ("0 to 1", "likeness of samples to real images as sharp as they are, by a network's features"),
    "diversity": ("0 to 1", "distinctness of samples, and coverage of the real images, by the same features"),
    "informativeness": ("0 to 1", "closeness of each reconstruction to its own input, by rank among all inputs"),
    "rungs": ("step, 0 to 1", "scores at the steps at which the trials of a study are compared"),
}
RECONSTRUCTION: Entries = {
    "mse": ("", "mean squared error per pixel"),
    "psnr": ("dB", "peak signal-to-noise ratio of reconstructions"),
    "ssim": ("-1 to 1", "structural similarity of reconstructions to their inputs"),
    "ms_ssim": ("-1 to 1", "structural similarity over several scales"),
    "ms_ssim_scales": ("scales", "number of scales that the image size allows"),
    "variance_explained": ("share", "variance explained, relative to the mean image; 1 is all"),
    "retrieval": ("share", "reconstructions that are closest to their own input; copies among these count once"),
}
SHARPNESS: Entries = {
    "sharpness_reconstructions": ("x real", "variance of the Laplacian of reconstructions; below 1 they are blurred"),
    "sharpness_samples": ("x real", "variance of the Laplacian of samples; above 1 they are noisy"),
    "high_frequency_reconstructions": ("x real", "share of power at high frequencies in reconstructions"),
    "high_frequency_samples": ("x real", "share of power at high frequencies in samples"),
    "blur_effect_real": ("0 to 1", "perceived blur of real images; 0 is sharp"),
    "blur_effect_reconstructions": ("0 to 1", "perceived blur of reconstructions"),
    "blur_effect_samples": ("0 to 1", "perceived blur of samples"),
    "power_spectrum_real": ("", "power of real images at each spatial frequency"),
    "power_spectrum_reconstructions": ("", "power of reconstructions at each spatial frequency"),
    "power_spectrum_samples": ("", "power of samples at each spatial frequency"),
}
COLLAPSE: Entries = {
    "kl": ("nats", "KL from the posterior to the prior, summed over dimensions: the energy of real images"),
    "kl_95": ("nats", "energy that 95% of real images stay below"),
    "kl_reconstructions": ("nats", "energy of reconstructions"),
    "kl_samples": ("nats", "energy of samples"),
    "inside_margin_real": ("share", "real images with an energy below m"),
    "inside_margin_reconstructions": ("share", "reconstructions with an energy below m"),
    "inside_margin_samples": ("share", "samples with an energy below m"),
    "active_units": ("dimensions", "latent dimensions whose mean varies by more than a threshold"),
    "collapsed_share": ("share", "latent dimensions with a KL below 0.01 nats for 99% of the images"),
    "mutual_information": ("nats", "information that codes hold about images; at its bound, no two codes are alike"),
    "mutual_information_bound": ("nats", "log of the number of images, the largest value that can be measured"),
    "aggregate_divergence": (
        "nats",
        "distance of all codes together from the prior, by mean and covariance, corrected for few images",
    ),
    "variance_ratio_reconstructions": ("x real", "variance among reconstructions over that among their inputs"),
    "kl_per_dimension": ("nats", "KL of each latent dimension"),
    "kl_quantiles": ("nats", "quantiles over images of the KL of each latent dimension"),
    "decoder_sensitivity": ("", "root mean square change of a pixel when a latent dimension moves by 1"),
}
DIVERSITY: Entries = {
    "variance_ratio": ("x real", "variance among samples over that among real images"),
    "ms_ssim_among_samples": ("0 to 1", "similarity of samples to each other; 1 if all are alike"),
    "ms_ssim_among_real": ("0 to 1", "similarity of real images to each other, for comparison"),
    "nearest_training": ("x real", "distance of samples to the nearest training image; near 0 they are copies"),
    "copied_samples": ("share", "samples that are copies of a training image, mirrored or not"),
}
DISTANCE: Entries = {
    "swd": ("10⁻³", "sliced Wasserstein distance of samples to real images, as published; misses most blur"),
    "swd_stderr": ("10⁻³", "standard error of swd"),
    "swd_reference": ("10⁻³", "sliced Wasserstein distance normalized by the real images; sees blur"),
    "swd_reference_stderr": ("10⁻³", "standard error of swd_reference"),
    "swd_levels": ("10⁻³", "swd at each level of detail, finest first"),
    "swd_reference_levels": ("10⁻³", "swd_reference at each level of detail, finest first"),
    "kid_efficientnet_lite0": ("10⁻³", "kernel distance (KID) of samples, on features of EfficientNet-Lite0"),
    "kid_efficientnet_lite0_deviation": ("10⁻³", "its standard deviation over subsets of the images"),
    "fid": ("", "Fréchet Inception Distance of samples; its bias depends on the number of images"),
    "kid": ("10⁻³", "Kernel Inception Distance of samples"),
    "kid_deviation": ("10⁻³", "its standard deviation over subsets of the images"),
    "fid_images": ("images", "number of real images, and of samples, for FID and KID"),
    "fid_library": ("", "library that computed FID and KID"),
}
DISTANCE_ON_TEST: Entries = {
    f"test_{name}": (unit, f"{meaning}; of test images, the figure to quote")
    for name, (unit, meaning) in DISTANCE.items()
    if name.startswith(("kid", "fid"))
}
SPECTRUM: Entries = {
    "predicted_kl": ("nats", "KL_lin: the KL of a linear VAE with this beta on these images"),
    "vae_kl": ("nats", "KL_lin times measured over predicted KL at the end of the warm-up; the KL of m/KL"),
    "predicted_active_units": ("dimensions", "latent dimensions that a linear VAE would use"),
    "collapse_beta": ("", "beta below which a linear VAE collapses completely"),
}
LATENTS: Entries = {
    "traversal_smoothness": ("0 to 1", "evenness of changes in the image along a latent dimension; 1 is best"),
    "interpolation_smoothness": ("0 to 1", "evenness of changes in the image between two codes; 1 is best"),
}
OTHER: Entries = {
    "scored_images": ("images", "number of validation images that were measured"),
}

GLOSSARY: Mapping[str, Entries] = {
    "Score": SCORE,
    "Reconstruction": RECONSTRUCTION,
    "Sharpness": SHARPNESS,
    "Collapse": COLLAPSE,
    "Diversity": DIVERSITY,
    "Distance to real images": {**DISTANCE, **DISTANCE_ON_TEST},
    "Predicted by the data": SPECTRUM,
    "Latents": LATENTS,
    "Other": OTHER,
}
