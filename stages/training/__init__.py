"""What the stages train, compare and tune share: a system's problem, read from its block, and the progress of a training."""
