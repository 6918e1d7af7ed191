"""The paper's figures, the titles of methods in tables, and captions."""

OURS, BASELINE, PAPER = "ours", "baseline", "paper"
MEAN = "mean"
TITLES = {"most_frequent": "MFC", "resnet": "ResNet", "conv_head": "ConvHead", "self_attention": "SA"}
# Accuracy in % on the 225 validation people of the course edition, table 1: attribute -> method. The printed averages; the
# mean of MFC's printed column is 70.74.
ATTRIBUTE_ACCURACY: dict[str, dict[str, float]] = {
    "age": {"MFC": 78.61, "ResNet": 78.63, "ConvHead": 83.09, "SA": 74.50},
    "backpack": {"MFC": 76.16, "ResNet": 81.83, "ConvHead": 82.86, "SA": 75.98},
    "bag": {"MFC": 73.35, "ResNet": 73.97, "ConvHead": 70.08, "SA": 75.36},
    "handbag": {"MFC": 88.28, "ResNet": 90.47, "ConvHead": 90.19, "SA": 90.38},
    "clothes": {"MFC": 85.43, "ResNet": 89.47, "ConvHead": 92.10, "SA": 92.36},
    "down": {"MFC": 63.68, "ResNet": 89.26, "ConvHead": 87.08, "SA": 85.86},
    "up": {"MFC": 94.13, "ResNet": 93.94, "ConvHead": 93.62, "SA": 93.10},
    "hair": {"MFC": 64.32, "ResNet": 84.10, "ConvHead": 84.03, "SA": 84.12},
    "hat": {"MFC": 96.81, "ResNet": 96.35, "ConvHead": 96.47, "SA": 96.51},
    "gender": {"MFC": 55.42, "ResNet": 87.80, "ConvHead": 89.37, "SA": 82.14},
    "upper_colour": {"MFC": 27.16, "ResNet": 69.96, "ConvHead": 69.25, "SA": 65.74},
    "lower_colour": {"MFC": 45.52, "ResNet": 66.14, "ConvHead": 64.30, "SA": 62.89},
    MEAN: {"MFC": 70.70, "ResNet": 83.49, "ConvHead": 83.53, "SA": 81.58},
}
# Mean average precision in % of the same people, table 2: every photo against all others, no camera left out.
MAP = {"ResNet": 67.86, "ConvHead": 69.93, "SA": 62.93}
# Rank-1 and mean average precision in % under the official protocol, and where that is reported.
PUBLISHED = {
    "APR": (87.04, 66.89, "Lin et al. 2019 (arXiv 1703.07220)"),
    "BoT (ResNet-50)": (94.4, 86.1, "FastReID model zoo"),
    "AGW (ResNet-50)": (95.3, 88.2, "FastReID model zoo"),
    "SBS (ResNet-50)": (95.4, 88.2, "FastReID model zoo"),
    "MGN": (95.8, 89.8, "FastReID model zoo"),
}
# Every weight is learned (its eq. 2).
OBJECTIVE = {"lambda": {"identity": 1.0, "attributes": 1.0}, "weighting": {"name": "uncertainty", "equation": "eq_2"}}
CAPTIONS = {
    "title": "People and their attributes in one photo",
    "question": "Who is on a photo by another camera, and which of twelve attributes does the person have?",
    "retrieval": "Retrieval in %. Protocol paper: every photo of a person is a query against all others. Protocol official: "
    "queries against a gallery with distractors, without photos of the query's person by the query's camera. Junk is in "
    "neither; a query without a match is left out. Average precision is the step form; with trapezoids, as the first code of "
    "Market-1501, it is lower. The paper's rows are those of people of the course edition's training part (it names 225 who "
    "validate), the published ones of the official test people: recordings of real people.",
    "queries": "Queries by falling average precision (protocol official), the best above, the worst below: each with the ten "
    "nearest photos, those of its person in a green frame, others in a red one; photos by its own camera are not compared.",
    "retrieval_intervals": "The same as fractions, with bootstrap intervals over people. Baseline: the nearest histogram of "
    "hue, saturation and value of the upper and lower half of a photo's middle columns, after a grey-world correction.",
    "retrieval_protocols": "A query without a match counts in no figure.",
    "subgroups": "Fractions by gender and by age class as the data set labels people (young, teenager, adult, old), with "
    "bootstrap intervals over the people of each subgroup; people without a label are unknown. Rank-1 over the queries with a "
    "match, accuracy over the people's photos whose class is known. Of one person there is no interval, of a few it says "
    "little.",
    "attributes": "Attributes in % over the people's photos whose class is known (query and gallery alike); unknown ones are "
    "counted and left out (in the last row: labels of all attributes). Most frequent: the class that most training "
    "photos have. Accuracy hides rare classes: the balanced one is the mean over classes, F1 the macro mean. The "
    "paper's columns (accuracy; MFC is its most frequent class) were taken on people of the course edition, which of them is "
    "not known: among the 225 validation people that it names, the most frequent classes have other shares (age 82.9, upper "
    "colour 31.6) than it prints. The mean of its MFC column is 70.74, not the printed 70.70.",
    "attributes_intervals": "The same as fractions, with bootstrap intervals over people. Baseline: the most frequent class.",
    "upper_colour_confusion": "Colour of the upper body: the true class at the left, the predicted one above.",
    "lower_colour_confusion": "Colour of the lower body: the true class at the left, the predicted one above.",
    "junk_intervals": "Junk detection: area under the ROC curve, with bootstrap intervals. confidence: one minus the "
    "mean over attributes of the highest probability; detector: one minus a detector's highest person score; head: the "
    "probability by the network's own task, where it has that task.",
    "photos": "By what they show and what they are for.",
    "retrieval_distances": "The distances from one query, that of median average precision (protocol official), to all photos "
    "that it is compared with, in order; points: photos of the same person.",
    "retrieval_official_ranks": "Share of queries with a match among the nearest photos, protocol official.",
    "retrieval_paper_ranks": "Share of queries with a match among the nearest photos, protocol paper.",
    "junk_roc": "Junk detection: the share of junk recognised against the share of people's photos taken for junk.",
}
