"""What the command `people` does beside the stages: a whole run, a demonstration, a look at the machine."""
