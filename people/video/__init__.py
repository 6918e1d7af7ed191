"""From frames to arrays: optical flow, tracks, silhouettes, keypoints and photos of one size.

One unit for the registry, whose models prepare raw frames with it; other stages depend on the modules that they reach.
"""
