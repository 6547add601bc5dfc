"""Does growing a trained model save compute, once the small model and the tuning are paid for?"""

__version__: str


def __getattr__(name: str) -> str:
    if name == "__version__":
        from importlib.metadata import version

        return version("mugrow")
    raise AttributeError(f"module 'mugrow' has no attribute {name!r}")
