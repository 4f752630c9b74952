"""Research: sweeps, walk-forward, data import and the training of models. Never part of a running bot."""
