"""Image sets: read, decoded once, and batched as a function of (seed, step)."""
