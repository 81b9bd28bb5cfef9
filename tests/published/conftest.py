"""What every test of the published system has: one thread, and the data of a small run."""

import pytest
import torch
from models import made_dataset
from published_models import SMALL_PAPER


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def dataset():
    return made_dataset(SMALL_PAPER)
