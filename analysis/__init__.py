"""From rows to claims: transfer, savings, figures and the report, each with its interval."""

if __name__ != "mugrow.analysis":
    raise ImportError("analysis is a part of mugrow: import mugrow.analysis", name="analysis")
