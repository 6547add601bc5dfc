"""The version comes from the installed distribution, and asking for it imports nothing heavy."""

import subprocess
import sys
from importlib.metadata import version

import pytest

import mugrow


def test_the_version_is_the_installed_one():
    assert mugrow.__version__ == version("mugrow")


def test_no_other_name_is_made_up():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = mugrow.nothing


def test_it_imports_neither_torch_nor_pandas():
    code = "import sys, mugrow; mugrow.__version__; print({'torch', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
