"""Bodies: their shape, and how age and sex change it."""
