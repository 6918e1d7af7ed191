"""When the stages run and where, and what is tried again: Prefect flows over the `dvc` command.

Every tool's telemetry is off unless `DO_NOT_TRACK` is set to `false` before the start.
"""

import os

if os.environ.setdefault("DO_NOT_TRACK", "true") != "false":
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DVC_NO_ANALYTICS", "1")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
