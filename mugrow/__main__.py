"""``python -m mugrow``: the program."""

from mugrow.sweeps.program import main

if __name__ == "__main__":
    main()
