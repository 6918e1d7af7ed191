"""Batches: every sample once per epoch, whatever the number of processes."""

import numpy as np
import pytest

from people.training.samplers import IdentityBatches, PairBatches, ShuffledBatches, augmentation


def epoch(batches: ShuffledBatches, number: int) -> list[list[int]]:
    batches.set_epoch(number)
    return list(batches)


@pytest.mark.parametrize(("count", "size"), [(10, 3), (12, 4), (5, 8), (131, 64)])
def test_an_epoch_has_every_index_once_in_batches_of_almost_equal_size(count: int, size: int):
    drawn = epoch(ShuffledBatches(count, size, seed=0), 0)
    sizes = [len(batch) for batch in drawn]
    assert sorted(index for batch in drawn for index in batch) == list(range(count))
    assert len(drawn) == len(ShuffledBatches(count, size, seed=0)) == np.ceil(count / size)
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1


def test_the_order_depends_on_seed_and_epoch_and_on_nothing_that_went_before():
    first, second = ShuffledBatches(50, 8, seed=3), ShuffledBatches(50, 8, seed=3)
    for number in range(4):
        epoch(first, number)
    assert epoch(first, 4) == epoch(second, 4)
    assert epoch(first, 4) != epoch(first, 5)
    assert epoch(first, 4) != epoch(ShuffledBatches(50, 8, seed=4), 4)


@pytest.mark.parametrize("world", [1, 2, 3, 4])
@pytest.mark.parametrize("drop_last", [False, True])
def test_the_shares_of_all_ranks_make_up_the_batches_of_one(world: int, drop_last: bool):
    def shares(rank: int, world: int) -> list[list[int]]:
        return epoch(ShuffledBatches(103, 16, seed=1, drop_last=drop_last, rank=rank, world=world), 2)

    of_ranks = [shares(rank, world) for rank in range(world)]
    together = [sorted(index for share in batch for index in share) for batch in zip(*of_ranks, strict=True)]
    assert together == [sorted(batch) for batch in shares(0, 1)]


def test_full_batches_only_leave_a_different_rest_out_each_epoch():
    batches = ShuffledBatches(10, 4, seed=0, drop_last=True)
    drawn = [epoch(batches, number) for number in range(20)]
    assert all([len(batch) for batch in one] == [4, 4] for one in drawn)
    assert {index for one in drawn for batch in one for index in batch} == set(range(10))


@pytest.mark.parametrize("wrong", [{"count": 0}, {"count": 3, "drop_last": True}, {"world": 16}, {"rank": 2, "world": 2}])
def test_what_cannot_be_shared_out_is_refused(wrong: dict):
    with pytest.raises(ValueError, match=r"got|samples|shared"):
        ShuffledBatches(**{"count": 20, "batch_size": 4, "seed": 0, **wrong})


def test_augmentations_of_an_epoch_come_from_a_stream_of_their_own():
    assert augmentation(1, 2).integers(2**60) == augmentation(1, 2).integers(2**60)
    draws = {int(augmentation(seed, number).integers(2**60)) for seed in range(3) for number in range(3)}
    draws |= {int(np.random.default_rng([seed, number]).integers(2**60)) for seed in range(3) for number in range(3)}
    assert len(draws) == 18


IDENTITY = [0] * 6 + [1] * 3 + [2] * 2 + [3] * 6 + [4] * 5


def identity_batches(
    identities: int = 3, samples_each: int = 4, batches: int = 7, seed: int = 3, **ranks: int
) -> IdentityBatches:
    return IdentityBatches(IDENTITY, identities, samples_each, batches, seed, **ranks)


def test_a_batch_holds_k_samples_of_each_of_p_identities_repeated_only_where_one_has_fewer():
    batches = identity_batches()
    assert len(epoch(batches, 1)) == len(batches) == 7
    for batch in epoch(batches, 1):
        clips = np.array(batch) % len(IDENTITY)
        labels = np.array(IDENTITY)[clips]
        people, counts = np.unique(labels, return_counts=True)
        assert len(people) == 3
        assert set(counts) == {4}
        for person in people:
            different = len(set(clips[labels == person].tolist()))
            assert different == 4 if IDENTITY.count(int(person)) >= 4 else different <= IDENTITY.count(int(person))


def test_a_clip_that_comes_again_in_an_epoch_has_another_index():
    drawn = [index for batch in epoch(identity_batches(batches=40), 2) for index in batch]
    assert len(set(drawn)) == len(drawn)
    assert max(drawn) > len(IDENTITY)
    times = {clip: sorted(index // len(IDENTITY) for index in drawn if index % len(IDENTITY) == clip) for clip in range(22)}
    assert all(numbers == list(range(len(numbers))) for numbers in times.values())


def test_the_people_of_a_batch_depend_on_seed_and_epoch_and_on_nothing_that_went_before():
    first, second = identity_batches(), identity_batches()
    for number in range(3):
        epoch(first, number)
    assert epoch(first, 3) == epoch(second, 3)
    assert epoch(first, 3) != epoch(first, 4)
    assert epoch(first, 3) != epoch(identity_batches(seed=4), 3)


def test_ranks_share_the_people_of_a_batch_whole():
    alone = epoch(identity_batches(identities=4), 5)
    shares = [epoch(identity_batches(identities=4, rank=rank, world=2), 5) for rank in (0, 1)]
    for whole, *parts in zip(alone, *shares, strict=True):
        assert sorted(whole) == sorted(parts[0] + parts[1])
        assert [len({IDENTITY[index % 22] for index in part}) for part in parts] == [2, 2]


@pytest.mark.parametrize(
    "wrong", [{"identities": 6}, {"identities": 3, "world": 2}, {"identities": 2, "world": 2}, {"rank": 1}]
)
def test_identities_that_cannot_be_drawn_or_shared_are_refused(wrong: dict):
    with pytest.raises(ValueError, match=r"identities|rank"):
        identity_batches(**wrong)


SESSION = [index % 2 for index in range(len(IDENTITY))]


def pair_batches(pairs: int = 4, batches: int = 9, seed: int = 2, **ranks: int) -> PairBatches:
    return PairBatches(IDENTITY, SESSION, pairs, batches, seed, **ranks)


def test_a_pair_is_of_one_person_under_two_conditions_and_each_pair_of_a_batch_of_another_person():
    batches = pair_batches()
    drawn = epoch(batches, 1)
    assert len(drawn) == len(batches) == 9
    for batch in drawn:
        samples = np.array(batch).reshape(-1, 2) % len(IDENTITY)
        identity, session = np.array(IDENTITY)[samples], np.array(SESSION)[samples]
        assert (identity[:, 0] == identity[:, 1]).all()
        assert (session[:, 0] != session[:, 1]).all()
        assert len(set(identity[:, 0].tolist())) == 4


def test_pairs_come_in_both_orders_and_from_everybody_who_has_two_conditions():
    label, condition = [0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 5, 5]
    batches = PairBatches(label, condition, 2, 60, seed=1)
    first = {
        (index % 6, partner % 6) for batch in epoch(batches, 0) for index, partner in zip(batch[::2], batch[1::2], strict=True)
    }
    assert first == {(0, 1), (1, 0), (2, 3), (3, 2)}


def test_more_pairs_than_people_repeat_people():
    batch = epoch(PairBatches([0, 0], [0, 1], 3, 1, seed=1), 0)[0]
    assert sorted(index % 2 for index in batch) == [0, 0, 0, 1, 1, 1]
    assert len(set(batch)) == 6  # each time with another index


def test_ranks_share_the_pairs_of_a_batch():
    single = epoch(pair_batches(), 5)
    shares = [epoch(pair_batches(rank=rank, world=2), 5) for rank in (0, 1)]
    for batch, *parts in zip(single, *shares, strict=True):
        assert sorted(batch) == sorted(parts[0] + parts[1])
        assert all(IDENTITY[a % 22] == IDENTITY[b % 22] for part in parts for a, b in zip(part[::2], part[1::2], strict=True))


@pytest.mark.parametrize("wrong", [{"pairs": 0}, {"pairs": 3, "world": 2}, {"rank": 1}])
def test_pairs_that_cannot_be_shared_are_refused(wrong: dict):
    with pytest.raises(ValueError, match=r"pairs|rank"):
        pair_batches(**wrong)


def test_people_of_one_condition_have_no_pairs():
    with pytest.raises(ValueError, match=r"two conditions, but each of 2 people has samples of one.*training.batches.across"):
        PairBatches([0, 0, 1], [3, 3, 4], 1, 1, seed=0)


@pytest.mark.parametrize("world", [1, 2])
def test_sizes_are_those_of_the_batches(world: int):
    for rank in range(world):
        share = {"rank": rank, "world": world}
        for batches in (ShuffledBatches(23, 6, 1, **share), identity_batches(identities=4, **share), pair_batches(**share)):
            assert batches.sizes() == [len(batch) for batch in batches]
