"""GaitTAKE: identity across views and clothes from silhouettes and poses, by temporal attention and keypoint embedding."""
