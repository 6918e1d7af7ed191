"""From frames to arrays: optical flow, tracks, silhouettes, keypoints and photos of one size."""
