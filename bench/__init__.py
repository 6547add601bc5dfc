"""What a run is, and how it trains. Imports neither ``sweeps`` nor ``analysis``."""

if __name__ != "mugrow.bench":
    raise ImportError("bench is a part of mugrow: import mugrow.bench", name="bench")
