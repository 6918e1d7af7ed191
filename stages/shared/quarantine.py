"""The end of a stage in which too large a share of a dataset's clips is bad."""

from collections.abc import Collection

import pandas as pd

from stages.shared.project import state

MAX_LISTED = 20


def fail_beyond(
    max_bad_share: float,
    key: str,
    name: str,
    quarantine: pd.DataFrame,
    clip_ids: Collection[str],
    earlier: Collection[str] = (),
) -> None:
    """Exit with the faults in words where the share of bad clips among all is larger, or no clip is left.

    `clip_ids` are all clips, `earlier` those of them that a stage before has put into quarantine. The table is kept as
    quarantine/<name>.csv in the state folder, as a failed stage has no outputs.
    """
    bad, clips = {*quarantine["clip_id"], *earlier}, {*clip_ids, *earlier}
    bad_share = len(bad) / len(clips)
    if bad_share <= max_bad_share and len(bad) < len(clips):
        return
    table = state("quarantine", f"{name}.csv")
    quarantine.to_csv(table, index=False)
    rows = quarantine.to_dict("records")
    lines = ["  {clip_id}: {rule}; {column} is {value}; {remedy}".format(**row) for row in rows[:MAX_LISTED]]
    more = [f"  ... and {len(rows) - MAX_LISTED} more"] if len(rows) > MAX_LISTED else []
    before = f" ({len(set(earlier))} of them by validate)" if earlier else ""
    limit = f"validate.{key}.max_bad_share allows {max_bad_share:.1%}"
    title = f"{key}: {bad_share:.1%} of the clips are bad{before}, {limit}; all are in {table}:"
    raise SystemExit("\n".join([title, *lines, *more]))
