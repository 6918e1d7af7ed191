"""Where people are seen: camera, light, room and street."""
