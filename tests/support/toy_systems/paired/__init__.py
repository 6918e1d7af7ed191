"""A toy system on pairs: what two photos of one person by two cameras share is told from what they do not."""
