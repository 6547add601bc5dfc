"""``python -m mugrow``: the program."""

from mugrow.sweeps.cli import main

if __name__ == "__main__":
    main()
