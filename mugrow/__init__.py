"""Does growing a trained model save compute, once the small model and the tuning are paid for?"""

import os

# Where links were not made (an unpacked sdist, a clone without them), the parts lie beside this.
if not os.path.isdir(os.path.join(os.path.dirname(__file__), "bench")):
    __path__.append(os.path.dirname(os.path.dirname(__file__)))
__version__: str


def __getattr__(name: str) -> str:
    if name == "__version__":
        from importlib.metadata import version

        return version("mugrow")
    raise AttributeError(f"module 'mugrow' has no attribute {name!r}")
