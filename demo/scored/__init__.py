"""The bot of the demo with a model."""
