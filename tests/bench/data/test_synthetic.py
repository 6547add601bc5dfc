"""The Markov source: its entropy against the textbook formula, and its samples against it."""

import math

import numpy as np
import pytest

from mugrow.bench.data.synthetic import (
    DRAWS,
    SYMBOLS,
    chain,
    cross_entropy,
    entropy_rate,
    successor_counts,
    transition_matrix,
)


def test_entropy_rate_is_that_of_the_matrix_under_its_stationary_distribution() -> None:
    matrix = transition_matrix()
    np.testing.assert_array_equal(matrix.sum(axis=1), 1.0)
    stationary = np.linalg.matrix_power(matrix, 200)[0]
    np.testing.assert_allclose(stationary @ matrix, stationary, atol=1e-15)
    rate = -(stationary[:, None] * matrix * np.log(matrix)).sum()
    assert entropy_rate() == pytest.approx(rate, rel=1e-12)
    assert 1.5 < entropy_rate() < 2.0


def test_there_is_something_to_learn_beyond_frequencies() -> None:
    stationary = np.linalg.matrix_power(transition_matrix(), 200)[0]
    frequencies_only = -(stationary * np.log(stationary)).sum()
    assert entropy_rate() + 2 < frequencies_only < math.log(SYMBOLS)


def test_a_sample_costs_the_entropy_rate_within_its_sampling_error() -> None:
    tokens = chain(100_000, stream=1)
    p = successor_counts() / DRAWS
    error = math.sqrt((p * np.log(p) ** 2).sum() - entropy_rate() ** 2) / math.sqrt(len(tokens))
    assert abs(cross_entropy(tokens) - entropy_rate()) < 4 * error
    assert cross_entropy(tokens.reshape(-1, 100)) == pytest.approx(cross_entropy(tokens), abs=0.01)
    assert cross_entropy(np.sort(tokens)) > entropy_rate() + 0.5


def test_transitions_occur_as_often_as_the_matrix_says() -> None:
    tokens = chain(200_000, stream=1).astype(int)
    pairs = np.zeros((SYMBOLS, SYMBOLS))
    np.add.at(pairs, (tokens[:-1], tokens[1:]), 1)
    from_symbol = pairs.sum(axis=1, keepdims=True)
    expected = from_symbol * transition_matrix()
    spread = np.sqrt(expected * (1 - transition_matrix()))
    enough = expected > 25
    assert enough.sum() > 400
    assert (np.abs(pairs - expected) / spread)[enough].max() < 6


def test_streams_differ_and_are_the_same_on_every_machine() -> None:
    assert not np.array_equal(chain(1000, stream=1), chain(1000, stream=2))
    np.testing.assert_array_equal(chain(1000, stream=1), chain(2000, stream=1)[:1000])
    assert chain(8, stream=1).tolist() == [3, 7, 12, 25, 53, 33, 58, 13]
