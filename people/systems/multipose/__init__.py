"""People, their keypoints, poses and activities in one network that is trained in phases and answers in one call."""
