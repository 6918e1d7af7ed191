"""Attributes and re-identification: twelve attributes of a pedestrian, and who it is, from one photo."""
