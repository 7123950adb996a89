"""One training loop for every family: steps, budgets, averaged weights, checkpoints, metrics."""
