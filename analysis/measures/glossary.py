"""What each number of scores.json says, in one line, and its unit: group -> name -> (unit, meaning)."""

from collections.abc import Mapping

Entries = Mapping[str, tuple[str, str]]
PARTS = ("reconstruction", "sharpness", "structure", "diversity", "informativeness")  # of the score

SCORE: Entries = {
    "score": ("0 to 1", "geometric mean of the five parts; 1 is best"),
    "stderr": ("0 to 1", "standard error of the score over the scored images"),
    "reconstruction": ("0 to 1", "how near reconstructions are to their input, pixel by pixel, against the mean image"),
    "sharpness": ("0 to 1", "as much fine detail as the real images have: neither blur nor noise"),
    "structure": ("0 to 1", "samples look like images of the data set, not like texture"),
    "diversity": ("0 to 1", "samples are distinct, and cover what real images show"),
    "informativeness": ("0 to 1", "how near each reconstruction is to its own input, by rank among all"),
}
RECONSTRUCTION: Entries = {
    "mse": ("", "mean squared error of a pixel"),
    "psnr": ("dB", "peak signal-to-noise ratio of the reconstructions"),
    "ssim": ("-1 to 1", "structural similarity to the input"),
    "ms_ssim": ("-1 to 1", "structural similarity to the input over several scales"),
    "ms_ssim_scales": ("scales", "how many scales the image size allows"),
    "variance_explained": ("share", "variance explained, against the mean image; 1 is all"),
    "retrieval": ("share", "reconstructions that are nearest to their own input"),
}
SHARPNESS: Entries = {
    "sharpness_reconstructions": ("x real", "variance of the Laplacian over that of real images; below 1 blurred"),
    "sharpness_samples": ("x real", "the same of samples; above 1 noisy"),
    "high_frequency_reconstructions": ("x real", "share of energy in high frequencies over that of real images"),
    "high_frequency_samples": ("x real", "the same of samples"),
    "blur_effect_real": ("0 to 1", "perceived blur of real images; 0 is sharp"),
    "blur_effect_reconstructions": ("0 to 1", "perceived blur of reconstructions"),
    "blur_effect_samples": ("0 to 1", "perceived blur of samples"),
    "power_spectrum_real": ("", "power at each spatial frequency, real images"),
    "power_spectrum_reconstructions": ("", "power at each spatial frequency, reconstructions"),
    "power_spectrum_samples": ("", "power at each spatial frequency, samples"),
}
COLLAPSE: Entries = {
    "kl": ("nats", "KL of the posterior from the prior, summed over dimensions: the energy of real images"),
    "kl_95": ("nats", "the energy that 95 % of real images stay below"),
    "kl_reconstructions": ("nats", "energy of reconstructions"),
    "kl_samples": ("nats", "energy of samples"),
    "inside_margin_real": ("share", "real images with a KL below m"),
    "inside_margin_reconstructions": ("share", "reconstructions with a KL below m"),
    "inside_margin_samples": ("share", "samples with a KL below m"),
    "active_units": ("dimensions", "latent dimensions whose mean varies by more than a threshold"),
    "collapsed_share": ("share", "dimensions with a KL below 0.01 nats for 99 % of the images"),
    "mutual_information": ("nats", "between image and code; at its bound it only says that all codes differ"),
    "mutual_information_bound": ("nats", "log of the number of images, the most that can be measured"),
    "aggregate_divergence": ("nats", "distance of all codes together from the prior, by their moments"),
    "variance_ratio_reconstructions": ("x real", "variance among reconstructions over that among their inputs"),
    "kl_per_dimension": ("nats", "KL of each latent dimension"),
    "kl_quantiles": ("nats", "its quantiles over images"),
    "decoder_sensitivity": ("", "root mean square change of a pixel when a latent dimension moves by 1"),
}
DIVERSITY: Entries = {
    "variance_ratio": ("x real", "variance among samples over that among real images"),
    "ms_ssim_among_samples": ("0 to 1", "similarity of samples to each other; high means alike"),
    "ms_ssim_among_real": ("0 to 1", "similarity of real images to each other, to compare with"),
    "nearest_training": ("x real", "distance of samples to the nearest training image; near 0 they are copies"),
}
DISTANCE: Entries = {
    "swd": ("10⁻³", "sliced Wasserstein distance of samples to real images, as published: it misses blur"),
    "swd_stderr": ("10⁻³", "its standard error"),
    "swd_reference": ("10⁻³", "the same, normalised by the real images: it sees blur"),
    "swd_reference_stderr": ("10⁻³", "its standard error"),
    "swd_levels": ("10⁻³", "the distance at each level, finest first"),
    "swd_reference_levels": ("10⁻³", "the normalised distance at each level, finest first"),
    "kid_efficientnet_lite0": ("10⁻³", "KID of samples on features of EfficientNet-Lite0 instead of Inception"),
    "kid_efficientnet_lite0_deviation": ("10⁻³", "its standard deviation over subsets"),
    "fid": ("", "Fréchet inception distance of samples; its bias depends on the number of images"),
    "kid": ("10⁻³", "kernel inception distance (KID) of samples"),
    "kid_deviation": ("10⁻³", "its standard deviation over subsets"),
    "fid_images": ("images", "real images, and as many samples, for FID and KID"),
    "fid_library": ("", "what computed FID and KID"),
}
SPECTRUM: Entries = {
    "predicted_kl": ("nats", "KL_lin: what a linear VAE with this beta reaches on these images"),
    "vae_kl": ("nats", "KL_lin corrected by the warm-up's measured KL; m is compared with it"),
    "predicted_active_units": ("dimensions", "latent dimensions that a linear VAE would use"),
    "collapse_beta": ("", "below this beta all of a linear VAE collapses"),
}
LATENTS: Entries = {
    "traversal_smoothness": ("0 to 1", "how evenly images change along one latent dimension; 1 is best"),
    "interpolation_smoothness": ("0 to 1", "how evenly images change between two codes; 1 is best"),
}
OTHER: Entries = {
    "scored_images": ("images", "validation images that all of this was measured on"),
}

GLOSSARY: Mapping[str, Entries] = {
    "Score": SCORE,
    "Reconstruction": RECONSTRUCTION,
    "Sharpness": SHARPNESS,
    "Collapse": COLLAPSE,
    "Diversity": DIVERSITY,
    "Distance to real images": DISTANCE,
    "Predicted by the data": SPECTRUM,
    "Latents": LATENTS,
    "Other": OTHER,
}
