"""Image sets: what is read, decoded once, and batched as a function of (seed, step)."""
