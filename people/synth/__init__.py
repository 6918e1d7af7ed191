"""People rendered from motion: walker, body, clothes, camera, scene. Knows no dataset layout."""
