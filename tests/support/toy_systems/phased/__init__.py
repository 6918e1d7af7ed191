"""A toy system in two phases: who is on a photo, then, with that fixed, whether it is a man or a woman."""
