"""What a run is, and how it trains. Imports neither ``sweeps`` nor ``analysis``."""
