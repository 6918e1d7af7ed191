"""Everything about training on a GPU that can be found out in minutes: `python -m benchmarks.gpu`, see docs/gpu.md."""
