"""No paper: a toy."""

CAPTIONS = {"photos": "Photos of the test split by camera."}
