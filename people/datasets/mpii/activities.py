"""Which of MPII's activities are walking, running, sitting or standing.

MPII describes an image, not a person, by an activity ("standing, talking in person") of a category ("miscellaneous"). An image
counts as one of the four by these rules, in this order:

1. Words of `NOT_THE_POSE` leave it out: the text itself says that it is uncertain, or most people are not in the pose.
2. The activity names exactly one of the four, and no other posture: that one. Where it names two, neither.
3. It names none of them and its category is walking or running: that one (hiking, climbing stairs, using crutches).
4. All else is not known. People row, ride and drive seated, and play tennis standing or running, but the text does not say so.
"""

import re

from people.records import Activity

_NAMED: dict[Activity, re.Pattern[str]] = {
    "walking": re.compile(r"\bwalk"),  # also "walkrun" and "walkingstanding", in which a slash was lost; not "sidewalk"
    "running": re.compile(r"running|run\b|\bjogging"),
    "sitting": re.compile(r"sitting"),
    "standing": re.compile(r"standing"),
}
_OTHER_POSTURES = re.compile(r"\blying|reclining|kneeling")  # not "applying"
NOT_THE_POSE = {
    "implied": "the activity contains walking, most images show another part of it",
    "water walking": "the legs are below the water",
    "ladder": "people climb with their arms and legs",
    "mini-tramp": "people jump",
    "wheelchair": "who is annotated often sits in it",
    "stroller": "who is annotated often sits in it",
    "flute": "the activity is called sitting, and by their joints most of its people stand",
}


def activity_of(activity: str, category: str) -> Activity | None:
    """The one of the four that an activity of a category shows; None where the text does not say, or says otherwise."""
    text = activity.lower()
    if any(words in text for words in NOT_THE_POSE):
        return None
    named: list[Activity] = [name for name, pattern in _NAMED.items() if pattern.search(text)]
    if len(named) == 1 and not _OTHER_POSTURES.search(text):
        return named[0]
    if named or not text:
        return None
    by_category: dict[str, Activity] = {"walking": "walking", "running": "running"}
    return by_category.get(category.lower())
