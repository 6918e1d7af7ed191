"""DVC stages, one script each; the only place that knows dvc, mlflow and optuna.

Every tool's telemetry is off unless `DO_NOT_TRACK` is set to `false` before the start. A stage that a flow started
(`PEOPLE_DIE_WITH_PARENT`) gets SIGTERM from the system when the process above it dies: nobody waits for its result any more,
and another attempt may be under way. Progress bars are drawn on a terminal, and for who reads them (`PEOPLE_PROGRESS`).
"""

import ctypes
import os
import signal
import sys

if os.environ.setdefault("DO_NOT_TRACK", "true") != "false":
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DVC_NO_ANALYTICS", "1")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")

if not (sys.stderr and sys.stderr.isatty()) and not os.environ.get("PEOPLE_PROGRESS"):
    os.environ.setdefault("TQDM_DISABLE", "1")  # the default of every bar of tqdm

if sys.platform == "linux" and os.environ.get("PEOPLE_DIE_WITH_PARENT"):
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
