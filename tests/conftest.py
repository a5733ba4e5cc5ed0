"""Fixtures shared by every test: the folder of real pictures, where there is one."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real pictures named by FC7_DATA; the test is skipped where it is missing."""
    folder = Path(os.environ.get("FC7_DATA") or REPOSITORY.parent / "shared" / "data").resolve()
    if not folder.is_dir():
        pytest.skip(f"no real pictures at {folder}; set FC7_DATA to a folder that holds them")
    return folder
