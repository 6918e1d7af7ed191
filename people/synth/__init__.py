"""Synthetic people: walks from several sources, body shape, clothing, scene and renderer; independent of dataset layouts."""
