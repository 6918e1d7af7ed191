"""Prefect flows that run the stages with the `dvc` command: order, workers, retries, versions, servers.

Every tool's telemetry is off unless `DO_NOT_TRACK` is set to `false` before the start.
"""

import os

if os.environ.setdefault("DO_NOT_TRACK", "true") != "false":
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DVC_NO_ANALYTICS", "1")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
