"""The paper's figures, the titles of methods in tables, and captions."""

MEAN_FLOW, CHANCE = "mean_flow", "chance"
TITLES = {
    "majority_vote": "majority vote, adapted head",
    "softmax_product": "product of softmax, adapted head",
    "svm": "SVM on signatures",
    "nearest_neighbours": "k-NN on signatures after PCA",
    MEAN_FLOW: "nearest neighbour on PCA of the mean flow",
    CHANCE: "chance",
}
OURS, BASELINE, PAPER = "ours", "baseline", "paper (TUM-GAID)"
COLUMNS = ("N", "B", "S", "Avg", "TN", "TB", "TS", "TAvg")
# Identification accuracy on TUM-GAID in %: 155 test subjects, flow at 80x60 except where another size is named.
ROWS = {
    "Ours-1 (SVM): id + age": (100, 97.1, 97.1, 98.1, 53.1, 59.4, 50, 54.2),
    "Ours-2 (SVM): id + verification": (99.7, 96.5, 97.4, 97.9, 56.3, 56.3, 56.3, 56.3),
    "Ours-2 (7-NN on PCA-128)": (99.7, 97.4, 99.7, 98.9, 59.4, 62.5, 68.8, 63.6),
    "Castro17b CNN (SVM)": (99.7, 97.1, 97.1, 98, 59.4, 50, 62.5, 57.3),
    "Hofmann et al. (640x480)": (99.4, 27.1, 52.6, 59.7, 44, 6, 9, 19.7),
    "RSM (640x480)": (100, 79, 97, 92, 58, 38, 57, 51.3),
    "Castro17a PFM (640x480)": (99.7, 99, 99, 99.2, 78.1, 56.3, 46.9, 60.4),
}
# The weights of its objective as published (`people/systems/dmt/README.md`); gender's is that of a released model.
OBJECTIVE = {"lambda": {"gender": 0.1, "age": 0.2, "verification": 0.1}}
CAPTIONS = {
    "title": "Gait from optical flow",
    "question": "Who is walking, of which gender and age, and do two recordings show one person, seen as optical flow alone?",
    "identification": "Rank-1 accuracy in %, gallery n01-n04. A mean is that of the columns before it. "
    "The paper's rows were taken on TUM-GAID itself, 155 test subjects.",
    "identification_intervals": "The same as fractions, with bootstrap intervals over subjects.",
    "identification_ranks": "Share of probes whose own identity is within each rank.",
    "gender_intervals": "Sequences of test subjects; the baseline predicts the majority gender of the training subjects.",
    "age_intervals": "Mean absolute error in years on test subjects; the baseline predicts the mean age of the training "
    "subjects, the second one the median. Predictions are shrunk towards the median by the factor age.shrinkage, chosen on "
    "validation subjects.",
    "verification_intervals": "Gallery against probe sequences: accuracy at the equilibrium point (equal true "
    "positive and true negative rates) and area under precision-recall (auc). "
    "Baseline: distance between mean flows after PCA; the second one: chance.",
    "subgroups": "Test subjects by gender and age band, with bootstrap intervals over the subjects of each; those without a "
    "label are unknown. Rank-1 as the share of a subgroup's probes, by the last of the configured decisions; gender accuracy "
    "and age error over labelled sequences. Of one person there is no interval, of a few it says little.",
    "verification_roc": "Pairs of a gallery and a probe sequence, at every threshold.",
    "verification_precision_recall": "The same pairs.",
    "filters_spatial": "First layer in space: each filter's weights for x-flow (left) and y-flow (right) in the middle frame; "
    "red is positive, blue negative. Opposite colours side by side are spatial derivatives.",
    "filters_temporal": "First layer in time: each row is a filter, each square a frame: how its main spatial pattern changes. "
    "Changes of colour along a row are temporal derivatives.",
    "flow_walks": "One walk of each condition, frame by frame: hue is direction, saturation is speed.",
    "flow": "Optical flow of one window per condition (T: elapsed session), six of its frames: hue is direction, "
    "saturation is speed.",
}
