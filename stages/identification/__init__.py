"""People in a video: followed, described by trained systems, shown on a page. `stages/identify.py` is the command."""
