"""Measures: numbers that say what images and latents are worth."""
