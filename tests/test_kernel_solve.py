import numpy as np
import pytest

from gmadet_nb.imaging.kernel_solve import Design, solve_ridge


@pytest.fixture
def design(rng):
    # More pixels than are taken at a time.
    return Design(
        basis=rng.normal(size=(4, 2500)).astype(np.float32),
        varying=rng.normal(size=(3, 2500)).astype(np.float32),
        level=rng.normal(size=(2, 2500)).astype(np.float32),
    )


def written_out(design):
    of_kernel = [basis * term for term in design.varying for basis in design.basis]
    return np.concatenate([of_kernel, design.level])


def test_normal_equations_are_those_of_the_matrix_written_out(design, rng):
    weight = rng.random(2500).astype(np.float32)
    weighted = written_out(design) * weight

    # Sums of 2500 products in single precision: 1e-7 sqrt(2500) each, of some 1000.
    assert design.normal(weight) == pytest.approx(weighted @ weighted.T, abs=0.01)


def test_unknowns_come_back_from_what_they_predict(design, rng):
    truth = rng.normal(size=14)
    one = np.ones(2500, dtype=np.float32)
    values = design.predict(truth)

    found = solve_ridge(
        design.normal(one),
        design.project(values),
        np.zeros((14, 14)),
        np.full(14, 1e-4),
    )

    # The ridge draws each by 1e-4 of its own size and of its neighbours'.
    assert found == pytest.approx(truth, abs=5e-4)


def test_ridge_draws_each_unknown_as_strongly_as_is_asked():
    # Columns at right angles: each is drawn by its own ridge alone.
    ridge = np.array([1e-4, 1e-4, 1.0, 9.0])
    normal = np.diag([4.0, 400.0, 4.0, 4.0])
    found = solve_ridge(normal, np.diag(normal).copy(), np.zeros((4, 4)), ridge)

    assert found == pytest.approx(1 / (1 + ridge), rel=1e-9)


def test_prediction_is_that_of_the_matrix_written_out(design, rng):
    solution = rng.normal(size=14)

    expected = solution @ written_out(design)
    assert design.predict(solution) == pytest.approx(expected, abs=1e-4)
