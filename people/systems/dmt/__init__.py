"""Deep multi-task gait: identity, gender, age and verification from optical flow."""
