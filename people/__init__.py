"""Multi-task models of people seen in video: arrays in, arrays out.

The library knows no orchestrator and no tracker; `stages/` turns it into DVC stages and `pipelines/` says when they run.
"""
