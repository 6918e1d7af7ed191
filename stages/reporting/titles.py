"""Words that a reader understands in place of internal names: of tables, columns, measures, conditions, variants."""

import re
from collections.abc import Iterable

TABLES = {
    "identification": "Who is it? Rank-1 beside the paper",
    "identification_intervals": "Identification with intervals",
    "identification_ranks": "Identification within the first ranks",
    "gender_intervals": "Gender with intervals",
    "age_intervals": "Age with intervals",
    "verification": "Are two recordings of one person?",
    "verification_intervals": "Verification with intervals",
    "verification_missing": "Probes without anybody to find",
    "verification_roc": "Verification: true against false accepts",
    "verification_precision_recall": "Verification: precision and recall",
    "subgroups": "By gender and age band",
    "weights": "Found weights beside others",
    "weights_differences": "What the found weights gain",
    "weights_runs": "Every training of the comparison of weights",
    "single_view": "Rank-1 beside the paper, one other view as gallery",
    "single_view_pairs": "Rank-1 from every view to every other",
    "single_view_intervals": "One other view as gallery, with intervals",
    "single_view_missing": "One other view as gallery: comparisons with nobody to find",
    "cross_view": "Rank-1, gallery of all views",
    "cross_view_intervals": "Gallery of all views, with intervals",
    "cross_view_missing": "Gallery of all views: comparisons with nobody to find",
    "from_90": "Rank-1, gallery seen from the side",
    "identification_missing": "Probes without anybody to find",
    "retrieval": "Who else is this? Retrieval beside the paper",
    "retrieval_intervals": "Retrieval with intervals",
    "retrieval_protocols": "What each protocol compares",
    "retrieval_distances": "Distances from one query to all photos",
    "retrieval_official_ranks": "Found among the nearest photos, official protocol",
    "retrieval_paper_ranks": "Found among the nearest photos, the paper's protocol",
    "attributes": "Twelve attributes beside the paper",
    "attributes_intervals": "Attributes with intervals",
    "upper_colour_confusion": "Colour of the upper body, told and true",
    "lower_colour_confusion": "Colour of the lower body, told and true",
    "junk_intervals": "Telling false detections from people",
    "junk_roc": "Telling false detections from people, at every threshold",
    "photos": "Photos that were evaluated",
    "frames_seen": "How many frames a decision needs",
    "disentanglement": "What each code tells",
    "codes_over_time": "The codes of one walk over time",
    "keypoints": "Keypoints",
    "boxes": "Boxes of people",
    "residual": "The pose residual network alone",
    "activity": "What people do",
    "cross_validation": "What people do, the paper's cross-validation",
    "images": "Images that were evaluated",
    "published": "Published figures",
    "activity_confusion": "Activities, told and true",
    "cross_validation_confusion": "Activities under cross-validation, told and true",
    "filters_spatial": "What the first layer looks for in space",
    "filters_temporal": "What the first layer looks for in time",
    "flow_walks": "Optical flow of walks",
    "silhouette_walks": "Silhouettes and keypoints of walks",
    "flow": "What the network sees: optical flow",
    "silhouettes": "What the network sees: silhouettes and keypoints",
    "reconstructions": "What the decoder makes of the codes",
    "swapped": "One person's appearance, another's gait",
    "swapped_walks": "One person's appearance, another's gait, walking",
    "queries": "Queries and the nearest photos",
    "best_images": "The best images",
    "worst_images": "The worst images",
    "heatmaps": "Heat maps of keypoints",
    "residual_before_after": "The pose residual network, before and after",
    "right_answers": "Right answers",
    "wrong_answers": "Wrong answers",
}
COLUMNS = {
    "source": "Source",
    "method": "Method",
    "low": "low",
    "high": "high",
    "probes": "Probes",
    "measure": "Measure",
    "value": "This run",
    "baseline": "Baseline",
    "baseline_2": "Second baseline",
    "interval": "Interval",
    "group": "By",
    "subgroup": "Group",
    "f1": "F1",
    "F1": "F1",
    "ap": "AP",
    "ap_50": "AP 0.5",
    "ap_75": "AP 0.75",
    "ar": "AR",
    "auc": "AUC",
    "map": "mAP",
    "mAP": "mAP",
    "r2": "R²",
    "Avg": "Mean",
    "TAvg": "Mean, later session",
    "without gallery": "With nobody to find",
    "rank-1 with them": "Rank-1 if those count as misses",
    "female": "Women",
    "age_known": "Age known",
    "mean_age_years": "Mean age, years",
    "oks": "Similarity (OKS)",
    "sha256": "SHA-256",
}
# What the papers call the recordings of one condition; upper case in tables, lower case in an index.
CONDITIONS = {
    "N": "normal walk", "B": "with a bag", "S": "coating shoes",
    "TN": "normal walk, later session", "TB": "with a bag, later session", "TS": "coating shoes, later session",
    "NM": "normal walk", "BG": "with a bag", "CL": "other clothes",
    "WS": "other walking speed", "CB": "with a bag", "CBG": "cluttered background", "ALL": "all conditions",
    "normal": "normal walk", "fast": "fast walk", "slow": "slow walk", "speed": "other speed", "bag": "with a bag",
    "clothes": "other clothes", "clutter": "cluttered background", "TAR": "true accept rate", "FAR": "false accept rate",
    "AP": "average precision", "AR": "average recall", "mAP": "mean average precision",
    "MFC": "most frequent class", "SA": "self-attention",
}  # fmt: skip
VALUES = {
    "ours": "this run", "baseline": "baseline", "paper": "paper", "all": "all", "everybody": "everybody",
    "params.yaml": "params.yaml", "map": "mAP",
}  # fmt: skip
MEASURES = {
    "map": "mAP", "minp": "mINP", "auc": "AUC", "tar": "TAR", "far": "FAR", "mae": "mean error", "gei": "gait energy images",
    "iou": "IoU", "oks": "OKS", "f1": "F1", "ap": "AP", "ar": "AR", "prn": "PRN",
    "roc": "ROC", "svm": "SVM", "r2": "R²",
}  # fmt: skip
CURVES = {
    "gei": "gait energy images", "nearest neighbour on gait energy images": "gait energy images",
    "mean_flow": "mean flow (baseline)", "ours": "this run", "majority_vote": "majority vote",
    "softmax_product": "softmax product", "svm": "SVM", "nearest_neighbours": "k-NN", "chance": "chance",
    "false_positive_rate": "false positives", "true_positive_rate": "true positives",
}  # fmt: skip
FULL = "all"  # the variant that is the system as it is


def table(name: str) -> str:
    """The title of a table, a curve or a picture."""
    return TABLES.get(name) or plain(name)


def column(name: str) -> str:
    """The head of a column; letters of a paper stay as they are."""
    if name in COLUMNS or name in CONDITIONS or "." in name:
        return COLUMNS.get(name, name)
    return plain(name)


def value(text: str) -> str:
    """A word in a cell."""
    return VALUES.get(text, text)


def curve(name: str) -> str:
    """The name of a line."""
    return CURVES.get(name) or words(name)


def variant(name: str) -> str:
    """The name of a variant of the comparison; the system as it is has another colour and this name everywhere."""
    return "full system" if name == FULL else words(name)


def error(name: str) -> str:
    """The name of a task whose error is shown."""
    return "all tasks" if name == "combined" else words(name)


def words(name: str) -> str:
    """An internal name as words, the abbreviations of the field as they are written."""
    parts = re.split(r"[_\s]+", name.replace("+", " + "))
    return " ".join(MEASURES.get(part.lower(), part) for part in parts if part)


def plain(name: str) -> str:
    """An internal name as the beginning of a line."""
    text = words(name)
    return text[:1].upper() + text[1:]


def measure(name: str) -> str:
    """A measure such as `svm.TN` or `tar_at_1.CL`: its parts, conditions in words."""
    parts = [part for part in name.split(".") if part]
    return ", ".join(CONDITIONS.get(part) or CURVES.get(part) or _measure(part) for part in parts)


def _measure(part: str) -> str:
    if at := re.fullmatch(r"(.+)_at_([0-9]+)", part):
        return f"{words(at[1])} at {at[2]} %"
    return re.sub(r"rank ([0-9]+)", r"rank-\1", words(part))


def key(names: Iterable[str]) -> str:
    """What the letters among these names stand for, as one line; empty without any."""
    known = {name: CONDITIONS[name] for name in names if name in CONDITIONS and name.upper()[:1] == name[:1]}
    return "; ".join(f"{name} {words}" for name, words in known.items())


def condition(name: str, session: int) -> str:
    """A recording's condition and session in words."""
    text = CONDITIONS.get(name) or CONDITIONS.get(name.upper()) or words(name)
    return f"{text}, session {session + 1}" if session else text
