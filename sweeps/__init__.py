"""An Optuna study over alpha, beta and m."""
