"""The search for weights: its space follows from the objective, proposals and pruning from the other trials."""

import itertools
import math
from pathlib import Path
from typing import Any

import conftest
import dmt_workspace
import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from ruamel.yaml import YAML

from people.training.system import Phase
from stages import configure
from stages.search import choice, proposals, settings
from stages.search.patch import patch
from stages.search.settings import Search
from stages.search.slots import SLOT
from stages.search.space import Candidate, Space, search_space

ROOT = Path(__file__).parent.parent.parent
OBJECTIVE = {
    "lambda": {"gender": 0.1, "age": 0.2, "verification": 0.0},
    "margin": {"verification": 0.5},
    "adaptive_margin": False,
    "weighting": {"name": "fixed"},
}
MEDIAN = {"name": "median", "startup_trials": 2, "warmup_epochs": 1}
SETTINGS: dict[str, Any] = {
    "trials": 6, "epochs": 3, "objectives": ["score"], "sampler": "tpe", "grid_points": 3, "pruner": MEDIAN, "baselines": [],
    "weightings": ["fixed"], "ranges": {}, "finals": {"seeds": 1, "also": []},
}  # fmt: skip
CHOICES = ("fixed", "equal", "single_task", "uncertainty", "pcgrad")


def search(**changes: Any) -> Search:
    return Search(**{**SETTINGS, **changes})


def space(objective: dict[str, Any] = OBJECTIVE, published: dict[str, Any] | None = None, **changes: Any) -> Space:
    return Space(search(**changes), objective, published or {}, "identity")


def finished(candidate: Candidate, values: list[float], merits: list[float] | None = None, **options: Any) -> FrozenTrial:
    """A trial of the candidate with these objectives' values."""
    numbers = {key: FloatDistribution(value / 100, value * 100, log=True) for key, value in candidate.values.items()}
    state = options.pop("state", TrialState.COMPLETE)
    return create_trial(
        state=state,
        values=values if state == TrialState.COMPLETE else None,
        params={"weighting": candidate.choice, **candidate.values},
        distributions={"weighting": CategoricalDistribution(CHOICES), **numbers},
        user_attrs={proposals.MERITS: merits or [], proposals.VALUES: values, **options},
    )


def numbered(*trials: FrozenTrial) -> list[FrozenTrial]:
    """The trials with the numbers that a study gives them."""
    for number, trial in enumerate(trials):
        trial.number = number
    return list(trials)


def test_weights_from_a_tenth_to_ten_times_and_margins_from_a_quarter_to_four_times_are_searched_but_no_task_that_is_absent():
    ranges = space().ranges
    assert list(ranges) == ["lambda.gender", "lambda.age", "margin.verification"]
    assert np.allclose([ranges[key] for key in ranges], [(0.01, 1), (0.02, 2), (0.125, 2)])


def test_a_range_of_params_yaml_takes_the_place_of_the_one_that_follows_and_the_papers_values_widen_that():
    wide = space(ranges={"lambda.age": [0.1, 0.3]}, published={"lambda": {"gender": 5.0}})
    assert wide.ranges["lambda.age"] == (0.1, 0.3)
    assert np.allclose(wide.ranges["lambda.gender"], (0.01, 50.0))


def test_the_main_terms_own_weight_is_fixed_for_only_ratios_matter():
    weights = {"identity": 1.0, "cross_reconstruction": 0.1}
    assert list(space({"lambda": weights, "weighting": {"name": "fixed"}}).ranges) == ["lambda.cross_reconstruction"]


def test_the_weight_of_a_term_that_is_trained_alone_in_every_phase_is_not_searched():
    objective = {"lambda": {"keypoints": 1.0, "detector": 1.0, "activity": 1.0}, "box": 1.0}
    alone = [Phase(name, tasks=[name]) for name in objective["lambda"]]
    options = search(ranges={"box": [0.1, 10.0]})
    assert list(Space(options, objective, {}, "keypoints", alone).ranges) == ["box"]
    together = [Phase("first", tasks=["keypoints"]), Phase("second", tasks=["detector", "activity"])]
    assert list(Space(options, objective, {}, "keypoints", together).ranges) == ["lambda.detector", "lambda.activity", "box"]


def test_the_papers_weights_come_first_then_params_yamls_then_the_baselines():
    own = space(published={"lambda": {"gender": 0.4}}, baselines=["equal", "single_task", "uncertainty"])
    assert [candidate.title for candidate in own.candidates] == ["paper", "params.yaml", "equal", "single_task", "uncertainty"]
    blocks = [own.objective(candidate.choice, candidate.values) for candidate in own.candidates]
    assert [block["lambda"] for block in blocks] == [
        {"gender": 0.4, "age": 0.2, "verification": 0.0},
        {"gender": 0.1, "age": 0.2, "verification": 0.0},
        {"gender": 1.0, "age": 1.0, "verification": 0.0},
        {"gender": 0.0, "age": 0.0, "verification": 0.0},
        {"gender": 1.0, "age": 1.0, "verification": 0.0},
    ]
    assert [block["weighting"]["name"] for block in blocks] == ["fixed"] * 4 + ["uncertainty"]
    assert {block["margin"]["verification"] for block in blocks} == {0.5}


def test_params_yamls_weights_are_not_tried_twice_where_they_are_the_papers():
    assert [candidate.title for candidate in space(published={"lambda": {"gender": 0.1}}).candidates] == ["params.yaml"]


def test_another_way_of_weighting_in_params_yaml_is_kept_in_its_own_trial_and_replaced_in_the_others():
    learned = {**OBJECTIVE, "weighting": {"name": "uncertainty", "equation": "eq_2", "bounds": [-3.0, 3.0]}}
    own = space(learned)
    (first,) = own.candidates
    assert first == Candidate("params.yaml", {"margin.verification": 0.5}, "params.yaml")
    assert own.objective(*first[:2]) == learned
    assert own.objective("fixed", {"lambda.gender": 0.3})["weighting"] == {"name": "fixed"}
    assert own.objective("pcgrad", {})["weighting"] == {"name": "pcgrad"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ranges": {"lambda.gendr": [0.1, 1.0]}}, "lambda.gendr: the objective has no 'gendr' there but gender, age"),
        ({"ranges": {"adaptive_margin": [0.1, 1.0]}}, "a number can be searched, objective.adaptive_margin is False"),
        ({"ranges": {"lambda.gender": [0.2, 1.0]}}, "objective.lambda.gender = 0.1 of params.yaml must lie in"),
        ({"ranges": {"lambda.gender": [0.0, 1.0]}}, r"must be \[low, high\], 0 < low < high"),
        ({"sampler": "oracle"}, "search.sampler must be one of tpe, gp, quasi_random, grid, random, got 'oracle'"),
        ({"trials": 0}, "search.trials must be at least 1, got 0"),
        ({"trials": 2, "baselines": ["equal", "pcgrad"]}, "must be at least 3, a trial each for params.yaml, equal, pcgrad"),
        ({"objectives": ["score", "age"]}, r"must be validation errors, or score alone, got \['score', 'age'\]"),
        ({"objectives": "score"}, r"search.objectives must be a list of validation errors, or \[score\], got 'score'"),
        ({"pruner": {"name": "median"}}, "Median does not take name: .*startup_trials"),
        ({"pruner": {"name": "oracle"}}, "search.pruner.name must be one of median, hyperband, none, got 'oracle'"),
        ({"pruner": {"name": "hyperband", "min_epochs": 4, "factor": 3}}, "min_epochs = 4 must not exceed search.epochs = 3"),
        (
            {"pruner": {"name": "hyperband", "min_epochs": 1, "factor": 3}, "objectives": ["identity", "age"]},
            "hyperband goes by one number and search.objectives has several",
        ),
        (
            {"finals": {"seeds": 0, "also": ["equal"]}},
            "search.finals.seeds must be at least 1, or 0 where `also` names nothing",
        ),
        ({"finals": {"seeds": -1, "also": []}}, "search.finals.seeds must be at least 1, .*, got -1"),
        ({"weightings": []}, "search.weightings must be a list of different ways of weighting"),
        ({"ranges": {"lambda.gender": [0.01, "1 or more"]}}, r"search.ranges.lambda.gender must be \[low, high\]"),
        ({"ranges": {"lambda.gender": [0.01, math.inf]}}, r"search.ranges.lambda.gender must be \[low, high\]"),
        ({"ranges": {"lambda.gender": [0.1, 0.1]}}, r"search.ranges.lambda.gender must be \[low, high\], 0 < low < high"),
        (
            {"ranges": {"lambda.verification": [0.1, 1.0]}},
            "objective.lambda.verification of params.yaml is 0, which lies in no",
        ),
    ],
)
def test_an_invalid_search_is_refused_with_its_key(changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        space(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objectives": ["hair"]}, r"must be among identity, gender, age, verification, or \[score\], got hair"),
        ({"objectives": ["identity", "gender"], "baselines": ["single_task"]}, "single_task leaves out gender, which"),
        ({"objectives": ["verification"]}, "leaves out verification, which search.objectives names"),
        ({"baselines": ["magic"]}, "must be one of fixed"),
        ({"finals": {"seeds": 1, "also": ["magic"]}}, "must be one of fixed"),
        ({"weightings": ["fixed", "magic"]}, "must be one of fixed"),
    ],
)
def test_what_the_system_cannot_train_or_judge_is_refused_before_anything_runs(changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        search_space("dmt", search(**changes), {"objective": OBJECTIVE, "training": {}})


def test_ways_of_weighting_alone_have_nothing_to_search_where_the_objective_has_no_margin():
    no_margin = {"lambda": OBJECTIVE["lambda"], "weighting": {"name": "fixed"}}
    with pytest.raises(ValueError, match=r"nothing to search: with search.weightings: \[uncertainty\] no weight is, and"):
        space(no_margin, weightings=["uncertainty"])
    assert [
        proposals.propose(space(no_margin, weightings=["uncertainty", "pcgrad"]), [], slot, 1).values for slot in (1, 2)
    ] == [
        {},
        {},
    ]
    assert list(space(weightings=["uncertainty"]).keys("uncertainty")) == ["margin.verification"]


@pytest.mark.parametrize("system", ["reid", "multipose"])
def test_single_task_is_refused_where_a_phase_would_have_no_task_and_where_the_score_is_that_of_all_tasks(system: str):
    block = dmt_workspace.PARAMS["systems"][system]
    message = {
        "reid": "single_task has other tasks",
        "multipose": "single_task leaves phase detector of training.phases without",
    }
    changes = {"ranges": dmt_workspace.PARAMS["search"][system]["ranges"], "baselines": ["single_task"]}
    with pytest.raises(ValueError, match=message[system]):
        search_space(system, search(**changes), block)
    search_space(system, search(**changes | {"baselines": ["equal"]}), block)
    if system == "reid":
        search_space(system, search(finals={"seeds": 1, "also": ["single_task"]}), block)


def parabola(candidate: Candidate) -> float:
    """Best at lambda.gender = 0.3 and lambda.age = 0.05, whatever the margin is."""
    gender, age = (math.log(candidate.values[key] / best) for key, best in (("lambda.gender", 0.3), ("lambda.age", 0.05)))
    return -(gender**2) - age**2


@pytest.mark.parametrize("sampler", ["tpe", "gp", "quasi_random", "random"])
def test_proposals_lie_in_their_ranges_and_follow_from_the_other_trials_and_the_seed_alone(sampler: str):
    own, trials = space(trials=20, sampler=sampler, baselines=["uncertainty"]), []
    for slot in range(20):
        candidate = proposals.propose(own, trials, slot, seed=1)
        assert candidate == proposals.propose(own, list(trials), slot, seed=1)
        if slot >= 2:
            assert candidate.choice == "fixed"
            assert all(low <= candidate.values[key] <= high for key, (low, high) in own.ranges.items())
            assert slot > 9 or candidate != proposals.propose(own, trials, slot, seed=2)
        value = parabola(candidate) if candidate.choice == "fixed" else -100.0
        trials = numbered(*trials, finished(candidate, [value], [value]))


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_a_sampler_that_learns_comes_nearer_than_chance(sampler: str):
    def best(kind: str, seed: int) -> float:
        own, trials = space(trials=40, sampler=kind), []
        for slot in range(40):
            candidate = proposals.propose(own, trials, slot, seed=seed)
            trials = numbered(*trials, finished(candidate, [parabola(candidate)]))
        return max(trial.values[0] for trial in trials)

    assert np.mean([best(sampler, seed) for seed in (1, 2)]) > np.mean([best("random", seed) for seed in (1, 2)])


def test_the_grid_has_every_combination_of_evenly_spaced_values_once_and_refuses_more_trials_than_cells():
    own = space(trials=28, sampler="grid")
    cells = [proposals.propose(own, [], slot, seed=1) for slot in range(1, 28)]
    axes = [np.geomspace(low, high, 3).tolist() for low, high in own.ranges.values()]
    assert [tuple(cell.values.values()) for cell in cells] == list(itertools.product(*axes))
    with pytest.raises(ValueError, match="asks for 28 trials of a grid of 27 cells, after 1 trials of named weights"):
        space(trials=29, sampler="grid")


def test_quasi_random_points_fill_the_space_evenly():
    own = space(sampler="quasi_random", trials=17)
    points = [proposals.propose(own, [], slot, seed=3).values for slot in range(1, 17)]
    for key, (low, high) in own.ranges.items():
        share = [math.log(point[key] / low) / math.log(high / low) for point in points]
        assert sorted(int(one * 16) for one in share) == list(range(16)), "one point in each sixteenth of every axis"


def test_ways_of_weighting_are_proposed_and_have_no_weights():
    own = space(trials=30, weightings=["fixed", "pcgrad"])
    trials: list[FrozenTrial] = []
    for slot in range(30):
        candidate = proposals.propose(own, trials, slot, seed=1)
        if candidate.choice == "pcgrad":
            assert list(candidate.values) == ["margin.verification"]
        value = 1.0 if candidate.choice == "pcgrad" else 0.0
        trials = numbered(*trials, finished(candidate, [value]))
    tried = [trial.params["weighting"] for trial in trials]
    assert tried.count("pcgrad") > tried.count("fixed") > 0


def median_pruned(merits: list[float], others: list[list[float]], **changes: Any) -> bool:
    candidate = Candidate("fixed", {"lambda.gender": 0.1})
    trials = numbered(*(finished(candidate, [max(values)], values) for values in others), finished(candidate, [0.0], merits))
    trials[-1].state = TrialState.RUNNING
    return proposals.is_pruned(search(**changes), trials, len(others), merits)


def test_a_trial_below_the_median_of_the_others_is_pruned_by_merit_also_with_several_objectives():
    others = [[-3.0, -2.0, -1.0], [-4.0, -3.0, -2.0], [-5.0, -4.0, -3.0]]
    for objectives in (["score"], ["identity", "gender"]):
        assert median_pruned([-9.0, -3.5], others, objectives=objectives)
        assert not median_pruned([-9.0, -2.5], others, objectives=objectives)
        assert not median_pruned([-9.0], others, objectives=objectives), "within the warm-up"
        assert not median_pruned([-9.0, -9.0], others[:1], objectives=objectives), "too few others"
        assert not median_pruned([-9.0, -9.0], others, objectives=objectives, pruner={"name": "none"})


def test_hyperband_ends_most_trials_early_and_never_the_best():
    options = search(epochs=8, pruner={"name": "hyperband", "min_epochs": 1, "factor": 2})
    study = optuna.create_study(direction="maximize", pruner=proposals.own_pruner(options))

    def train(trial: optuna.Trial) -> float:
        level = -float(trial.number)  # each trial is worse than those before
        for epoch in range(1, 9):
            trial.report(level, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return level

    study.optimize(train, n_trials=20)
    states = [trial.state for trial in study.trials]
    assert states[0] == TrialState.COMPLETE
    assert states.count(TrialState.PRUNED) > 10


def test_hyperband_does_not_depend_on_the_studys_name_nor_on_trials_that_were_given_up():
    options = search(epochs=8, pruner={"name": "hyperband", "min_epochs": 1, "factor": 2})

    def lengths(name: str, given_up: int) -> list[int]:
        study = optuna.create_study(study_name=name, direction="maximize", pruner=proposals.own_pruner(options))
        reached: dict[int, int] = {}
        for slot in [*([given_up] if given_up else []), *range(30)]:
            study.enqueue_trial({}, user_attrs={SLOT: slot})
            trial, level = study.ask(), math.sin(slot * 7.0)
            for epoch in range(1, 9):
                trial.report(level, epoch)
                reached[slot] = epoch
                if trial.should_prune():
                    break
            state = TrialState.FAIL if given_up and trial.number == 0 else None
            study.tell(trial, state=state) if state else study.tell(trial, level)
        return [reached[slot] for slot in range(30)]

    first = lengths("dmt on tumgaid, 30 trials, 2026-11-26 #0-1", 0)
    assert len(set(first)) > 2
    assert lengths("dmt on tumgaid, 30 trials, 2026-11-27 #0-2", 0) == first
    assert lengths("dmt on tumgaid, 30 trials, 2026-11-26 #0-1", 5) == first


def test_the_merit_of_errors_is_their_geometric_mean_whose_least_error_is_a_hundredth():
    options = search(objectives=["identity", "age"])
    metrics = {"score": 7.0, "error_identity": 0.25, "error_age": 4.0}
    assert settings.merit(options, metrics) == pytest.approx(-1.0)
    assert settings.merit(options, {**metrics, "error_identity": 0.0}) == pytest.approx(-math.sqrt(0.01 * 4.0))
    assert settings.merit(search(), metrics) == 7.0


def test_the_front_has_the_trials_that_none_surpasses_and_the_chosen_one_has_the_lowest_geometric_mean():
    options, weights = search(objectives=["identity", "age"]), Candidate("fixed", {"lambda.gender": 0.1})
    values = [[0.5, 4.0], [0.1, 9.0], [0.4, 5.0], [0.6, 4.0], [0.2, 4.4]]
    trials = numbered(*(finished(weights, pair) for pair in values))
    assert [trial.number for trial in choice.pareto_front(options, trials)] == [0, 1, 4]
    assert choice.best_trial(options, trials, {number: number for number in range(5)}, "").number == 4
    equal = numbered(finished(weights, [0.2, 4.0]), finished(weights, [0.4, 2.0]))
    assert choice.best_trial(options, equal, {0: 1, 1: 0}, "").number == 1, "of equals the first slot"


def test_where_no_trial_is_complete_the_error_has_the_reasons():
    failed = numbered(finished(Candidate("fixed", {"lambda.gender": 0.1}), [], state=TrialState.FAIL))
    with pytest.raises(ValueError, match=r"no trial is complete; narrow search.ranges[^Ω]*the loss is not finite"):
        choice.best_trial(search(), failed, {0: 0}, "the loss is not finite")


def test_the_importance_of_a_weight_that_decides_is_the_larger_one():
    own = space(trials=60, sampler="random")
    candidates = [proposals.propose(own, [], slot, seed=1) for slot in range(1, 60)]
    trials = numbered(*(finished(one, [-abs(math.log(one.values["lambda.gender"] / 0.1))]) for one in candidates))
    table = choice.importances(own, trials).set_index("parameter")["importance"]
    assert float(table.sum()) == pytest.approx(1.0)
    assert table.idxmax() == "lambda.gender"
    assert float(table["lambda.gender"]) > 0.8
    assert len(choice.importances(own, trials[:3])) == 0, "three trials say nothing"


def test_a_patch_changes_the_found_values_and_no_other_line_of_params_yaml(tmp_path: Path):
    file = ROOT / "params.yaml"
    objective = YAML(typ="safe").load(file)["systems"]["dmt"]["objective"]
    assert patch("dmt", objective, file) == ""
    found = {**objective, "lambda": {**objective["lambda"], "gender": 0.321}, "weighting": {"name": "pcgrad"}}
    lines = [line for line in patch("dmt", found, file).splitlines() if line.startswith(("+ ", "- "))]
    assert [line[0] for line in lines] == ["-", "+"] * 2
    assert "gender: 0.321" in lines[1]
    assert "weighting: {name: pcgrad}" in lines[3]


def test_where_all_trials_are_equally_good_no_number_has_an_importance():
    own = space(trials=20, sampler="random")
    trials = numbered(*(finished(proposals.propose(own, [], slot, seed=1), [0.5]) for slot in range(1, 20)))
    assert choice.importances(own, trials).to_dict("list") == {"parameter": [], "importance": []}


def test_a_row_of_the_table_has_the_merit_of_the_epoch_that_is_kept():
    own = space(objectives=["identity", "gender"])
    kept_first = finished(Candidate("fixed", {"lambda.gender": 0.1}), [0.1, 0.4], [-0.2, -0.15], slot=0)
    other = finished(Candidate("fixed", {"lambda.gender": 0.2}), [0.18, 0.18], [-0.18, -0.18], slot=1)
    diverged = finished(Candidate("fixed", {"lambda.gender": 0.3}), [], state=TrialState.FAIL, slot=2)
    trials = numbered(kept_first, other, diverged)
    best = choice.best_trial(own.search, trials, {0: 0, 1: 1, 2: 2}, "")
    table = choice.trials_table(own, trials, best)
    assert table["merit"].tolist() == pytest.approx([-0.2, -0.18, math.nan], nan_ok=True)
    assert table["merit"].idxmax() == table.query("chosen").index[0] == 1


@pytest.mark.parametrize("form", ["unix", "windows", "no final newline"])
@pytest.mark.parametrize("system", ["dmt", "reid"])
def test_a_patch_applies_to_any_form_of_lines_and_the_command_makes_the_same_change(tmp_path: Path, form: str, system: str):
    content = (ROOT / "params.yaml").read_bytes()
    change = {"windows": (b"\n", b"\r\n"), "no final newline": (b"#", "# µ".encode())}.get(form, (b"\n", b"\n"))
    content = content.rstrip(b"\n").replace(*change) if form == "no final newline" else content.replace(*change)
    file = tmp_path / "params.yaml"
    file.write_bytes(content)
    block = dmt_workspace.PARAMS["systems"][system]
    own = search_space(system, Search(**dmt_workspace.PARAMS["search"][system]), block)
    found = own.objective("fixed", {key: low for key, (low, _) in own.ranges.items()})
    (tmp_path / "params.patch").write_text(patch(system, found, file))
    conftest.run(["git", "init", "-q"], tmp_path)
    conftest.run(["git", "apply", "params.patch"], tmp_path)
    patched = file.read_bytes()
    assert YAML(typ="safe", pure=True).load(patched)["systems"][system]["objective"] == found
    assert patched.count(b"\r\n") == content.count(b"\r\n")
    file.write_bytes(content)
    YAML().dump({"system": system, "objective": found}, tmp_path / "best.yaml")
    configure.configure(file, configure.found_objective(tmp_path / "best.yaml"))
    assert file.read_bytes() == patched


@pytest.mark.parametrize("content", ["system: dmt\nobjective: null\n", "system: dmt\nobjective: fixed\n", "- 1\n", "{", ""])
def test_a_file_without_an_objective_is_refused_by_its_name(tmp_path: Path, content: str):
    (tmp_path / "best.yaml").write_text(content)
    with pytest.raises(SystemExit, match=r"(?s)--from wants a best.yaml .*best.yaml is none .*Nothing was changed"):
        configure.found_objective(tmp_path / "best.yaml")


def test_a_study_in_memory_leaves_no_message_and_no_trial_in_the_real_one():
    own, study = space(), optuna.create_study()
    proposals.propose(own, study.trials, 1, seed=1)
    assert study.trials == []
