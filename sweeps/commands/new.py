"""``mugrow new method``: a method of one's own, to begin with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from mugrow.bench.spec import UserError


@dataclass(frozen=True)
class NewCommand:
    """Write a new growth method that passes `mugrow check` as it is."""

    what: Positional[Literal["method"]]
    name: Positional[str]
    """Its name: lower-case letters, digits and underscores."""
    package: bool = False
    """A package that registers the method where it is installed (the default)."""
    file: bool = False
    """One Python file, which `mugrow check` takes by its path."""
    out: Annotated[Path, arg(aliases=["-o"])] = Path()
    """The folder to write it in."""

    def __call__(self) -> None:
        from mugrow.sweeps.scaffold import new_method

        if self.package and self.file:
            raise UserError("--package and --file are two things; give one")
        made = new_method(self.name, self.out, one_file=self.file)
        for path in made.files:
            print(path)
        if self.file:
            print(f"\nmugrow check {made.path}")
        else:
            print(f"\npip install -e {made.path}\nmugrow check {made.name}")
