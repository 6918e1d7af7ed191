"""Where studies are kept: SQLite, PostgreSQL, or a journal file on a shared disk; and signs that a process lives."""

import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial

from stages.shared.project import optuna_storage
from stages.tracking.databases import optuna_database

HEARTBEAT_S, GRACE_S = 20, 90  # a process on another machine has exited if its heartbeat is older than GRACE_S
BEATS = "heartbeats"  # an attribute of trials in a journal, which has no heartbeats of Optuna's
JOURNAL = "journal:"  # `journal:path` or `journal:///path`


def open_storage() -> BaseStorage:
    """The storage at `OPTUNA_STORAGE`, or the project's own SQLite file."""
    address = optuna_storage()
    if address.startswith(JOURNAL):
        file = Path(address.removeprefix(JOURNAL).removeprefix("//"))
        file.parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(str(file)))
    url = optuna_database()
    engine_kwargs = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # the heartbeat is experimental
        return RDBStorage(url, engine_kwargs=engine_kwargs, heartbeat_interval=HEARTBEAT_S, grace_period=GRACE_S)


@contextmanager
def heartbeats(storage: BaseStorage, trial_id: int) -> Iterator[None]:
    """Show every `HEARTBEAT_S` that the trial's process lives, while the block runs.

    In a journal, which has no heartbeats of Optuna's, an attribute of the trial counts up.
    """
    ended = threading.Event()

    def beat() -> None:
        count = 1
        while not ended.wait(HEARTBEAT_S):
            _beat(storage, trial_id, count)
            count += 1

    _beat(storage, trial_id, 0)
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _beat(storage: BaseStorage, trial_id: int, count: int) -> None:
    try:
        if isinstance(storage, BaseHeartbeat):
            storage.record_heartbeat(trial_id)
        else:
            storage.set_trial_user_attr(trial_id, BEATS, count)
    except UpdateFinishedTrialError:  # others gave it up
        pass


class Watch:
    """Since when, by this process's clock, a running trial has shown no sign of life: no claim, no further heartbeat."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[object, float]] = {}

    def silent_s(self, trial: FrozenTrial) -> float:
        """Seconds since the trial last changed its sign of life, or since this process first saw it."""
        sign, now_s = trial.user_attrs.get(BEATS), time.monotonic()
        before, since_s = self._last.get(trial.number, (object(), now_s))
        if sign != before:
            since_s = now_s
        self._last[trial.number] = (sign, since_s)
        return now_s - since_s
