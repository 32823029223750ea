"""The search: space, samplers, pruning and listed points."""
