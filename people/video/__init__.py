"""From frames to arrays: optical flow and tracks, kept in packed, memory-mapped stores."""
