"""Published figures, and the captions of tables, curves and pictures. The paper's own tables are pictures in the text at hand
and are not repeated here.
"""

OURS, STRONGEST, PUBLISHED = "ours", "strongest peak in the box", "published"
# keypoint AP on COCO: method, split, AP
KEYPOINT_AP = (
    ("MultiPoseNet (Kocabas et al., 2018)", "test-dev", 0.696),
    ("MultiPoseNet (Kocabas et al., 2018)", "val2017", 0.639),
    ("the pose residual network alone, true boxes and keypoints (Kocabas et al., 2018)", "val2017", 0.894),
)

OBJECTIVE: dict[str, object] = {}  # its phases have one task each, and no weights
CAPTIONS = {
    "title": "People, keypoints and activities in images",
    "question": "Where are the people in an image and their keypoints, and what is everybody doing?",
    "keypoints": "COCO's average precision (AP) and recall (AR) of keypoints, by object keypoint similarity, in %: the joined "
    "network, and in place of the pose residual network the strongest peak of each heat map in the found box. In true boxes: "
    "the same with labelled boxes of score 1.",
    "boxes": "COCO's average precision and recall of people's boxes, by overlap, in %; small below 32², medium to 96² pixels.",
    "residual": "The pose residual network alone: all labelled keypoints of an image as peaks, people's true boxes; beside it "
    "each joint's peak nearest to where standing people have it in the box.",
    "activity": "Activities of people in %: of labelled poses, and of found people who overlap a labelled one by half. "
    "Baselines learn from the training people's labelled poses. Precision, recall and F1 are means over activities.",
    "cross_validation": "The paper's protocol on the test images' labelled poses: folds of images, mean over them in %.",
    "images": "All of the test split, and those of few and of many people.",
    "published": "Published figures, in %; none of this data.",
    "best_images": "Found people, in images of the highest mean similarity to the labelled ones: boxes, skeletons (left red, "
    "right green), activities.",
    "worst_images": "Found people, in images of the lowest mean similarity.",
    "heatmaps": "An image, the maximum over its heat maps, and the background map.",
    "residual_before_after": "Of one person each: the pose residual network's input, all joints in the box; its output.",
    "activity_confusion": "Share in % of labelled activities (rows) that are told as the column's, of labelled poses.",
    "cross_validation_confusion": "The same under cross-validation.",
}
