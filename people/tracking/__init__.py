"""People found and followed in videos of one's own: sources of frames, finders, tracks and what a track shows of its person."""
