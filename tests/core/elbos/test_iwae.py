"""How many particles the importance weighted bound draws at once."""

import pytest

from entropy_core.elbos.iwae import check_particles


@pytest.mark.parametrize(("chunk_size", "at_once"), [(None, 10), (3, 3), (10, 10), (30, 10)])
def test_a_chunk_has_no_more_particles_than_asked_for(chunk_size, at_once):
    assert check_particles(10, chunk_size, "plain") == at_once
