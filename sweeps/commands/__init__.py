"""The commands of ``mugrow``, one a file: a frozen dataclass whose fields are its flags.

tyro makes the flags and ``--help`` from the fields and their docstrings. Whatever is slow to import
(torch, pandas, plotting) is imported inside ``__call__``, by the command that needs it.
"""
