"""No paper: a toy."""

OBJECTIVE: dict[str, object] = {}
CAPTIONS = {"photos": "Photos of the test split by camera."}
