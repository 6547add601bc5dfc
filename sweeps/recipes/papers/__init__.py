"""Papers by name, each a folder: its figures, their runs, and its claims.

Others' come by entry point, in the group ``mugrow.papers``, or as a Python file with a ``PAPER``.
"""

from importlib import import_module
from pathlib import Path

from mugrow.bench.entries import Registry, is_python_file
from mugrow.bench.spec import unknown
from mugrow.sweeps.paper import Paper

PAPERS = {  # name: arXiv id
    "beyond-fixed-durations": "2405.18392",
    "completed-hp": "2512.22382",
    "emulator": "2310.12962",
    "gstack": "2405.15319",
    "hitchhiker": "2410.11840",
    "hypercloning": "2409.12903",
    "inheritune": "2404.08634",
    "majority-kernels": "2402.05033",
    "mupscaling": "2602.10545",
    "mutransfer": "2203.03466",
    "nanolm": "2304.06875",
    "rewarm": "2308.04014",
    "robustify": "2309.07499",
    "staged-training": "2203.06211",
    "train-large": "2002.11794",
    "warmstarting": "2411.07340",
    "when-warmstarting": "2605.13405",
}
REGISTRY = Registry("paper", Paper, __name__, "PAPER", tuple(PAPERS), "mugrow.papers")


def paper(word: str) -> Paper:
    """The paper of that name or arXiv id, or the ``PAPER`` of a Python file. Raises ``UserError``
    where there is none, or where somebody's cannot be loaded."""
    if is_python_file(word):
        return REGISTRY.from_file(Path(word))
    by_id = {arxiv: known for known, arxiv in PAPERS.items()}
    name = by_id.get(word, word)
    if REGISTRY.is_plugin(name):
        return REGISTRY.get(name)
    if name not in PAPERS:
        raise unknown("paper", name, [*REGISTRY.names(), *by_id])
    found = import_module(f"{__name__}.{name.replace('-', '_')}.paper").PAPER
    assert isinstance(found, Paper)
    return found
