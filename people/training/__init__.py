"""The training loop, its configuration and data, and what a system offers to it (`people.training.system`)."""
