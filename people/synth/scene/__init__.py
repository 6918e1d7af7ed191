"""Scene: pinhole camera, rasteriser, light and the backgrounds of room and street."""
