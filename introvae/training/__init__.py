"""Training: one step, its losses and schedules, and the loop around it."""
