"""The protocols' names, the titles of methods in tables, and captions. The paper's tables are pictures in the text at hand and
are not repeated here.
"""

OURS, BASELINE = "ours", "baseline"
GEI = "gei"
TITLES = {OURS: "GaitNet", GEI: "nearest neighbour on gait energy images"}
PROBES = ("WS", "CB", "CL", "CBG", "ALL")  # FVG: walking speed, carrying a bag, clothes, cluttered background, all of them

# Its weights; they hold for squared norms (`people/systems/gaitnet/README.md`).
OBJECTIVE = {"lambda": {"identity": 1.0, "cross_reconstruction": 0.1, "gait_similarity": 0.005}}
CAPTIONS = {
    "title": "Gait apart from appearance",
    "question": "Is somebody known again by gait in other clothes, with a bag or at another speed, without appearance?",
    "verification": "Every probe against every gallery clip, by cosine: true accept rate (TAR) in % at a false accept rate "
    "(FAR) that is nowhere exceeded, and the share in % of probes whose person is the nearest, or among the five nearest.",
    "verification_intervals": "The same as fractions, with bootstrap intervals over subjects. Baseline: the nearest gait "
    "energy image (a clip's mean mask).",
    "identification_intervals": "The share of probes whose person is the nearest, or among the five nearest.",
    "verification_missing": "Probes that show nobody of the gallery are counted here and compared with nobody.",
    "verification_roc": "True against false accept rate, over all pairs of a probe set.",
    "frames_seen": "True accept rate, across views rank-1, after the first frames of each probe: the running mean of the "
    "LSTM's outputs. The gallery is seen whole.",
    "subgroups": "Rank-1 as a fraction by gender and age band of the probe's person, with bootstrap intervals over the people "
    "of each subgroup; people without a label are unknown. Probes of all sets, every one counting once; across views, of a "
    "probe the mean over its gallery views. Of one person there is no interval, of a few it says little.",
    "single_view": "Rank-1 accuracy in % for each probe view, one other view as gallery at a time, mean over gallery views.",
    "cross_view": "Rank-1 accuracy in % for each probe view; one gallery of all views without the probe's own person and view.",
    "from_90": "Rank-1 accuracy in % for each probe view; the gallery is one normal walk seen from 90°.",
    "disentanglement": "What linear probes read from each code, about people whom neither the network nor the probe has seen. "
    "R² is 0 where a code says no more than the mean, balanced accuracy 0.5 where it says nothing. Pixels: the picture and "
    "its mask at 16x8. A code of gait alone would tell the walking phase and nothing of the colour.",
    "codes_over_time": "One clip: principal components of the codes, in deviations over all test frames, and the true phase.",
    "reconstructions": "One test subject under each condition: above the network's input, below what the decoder makes of the "
    "gait code of each frame and the appearance code of the middle one.",
    "swapped_walks": "Test subjects: the appearance of the person at the left walks with the gait of the person above; "
    "originals at the left and above.",
    "swapped": "The same in one frame.",
}
