"""Search space, samplers and pruning."""
