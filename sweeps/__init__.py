"""Which runs to do, in what order, and where: studies, search, transfer, plan, execution."""

if __name__ != "mugrow.sweeps":
    raise ImportError("sweeps is a part of mugrow: import mugrow.sweeps", name="sweeps")
