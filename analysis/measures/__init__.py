"""Measures of the quality of images and latents."""
