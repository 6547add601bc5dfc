"""``mugrow new``: a method or a study of one's own, to begin with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from mugrow.bench.spec import UserError


@dataclass(frozen=True)
class NewCommand:
    """Write a new growth method that passes `mugrow check` as it is, or a study that runs."""

    what: Positional[Literal["method", "study"]]
    name: Positional[str]
    """Its name: lower-case letters, digits and underscores; a study's may have dashes."""
    package: bool = False
    """Of a method: a package that registers it where it is installed (the default)."""
    file: bool = False
    """Of a method: one Python file, which `mugrow check` and studies take by its path."""
    python: bool = False
    """Of a study: a Python file; TOML by default."""
    out: Annotated[Path, arg(aliases=["-o"])] = Path()
    """The folder to write it in."""

    def __call__(self) -> None:
        if self.what == "study":
            self._study()
        else:
            self._method()

    def _study(self) -> None:
        from mugrow.sweeps.new_study import new_study

        if self.package or self.file:
            raise UserError("--package and --file are for methods; a study is a file")
        path = new_study(self.name, self.out, python=self.python)
        print(f"{path}\n\nmugrow run {path} --dry-run\nmugrow run {path}")

    def _method(self) -> None:
        from mugrow.sweeps.scaffold import new_method

        if self.python:
            raise UserError("--python is for studies; a method is Python anyway")
        if self.package and self.file:
            raise UserError("--package and --file are two things; give one")
        made = new_method(self.name, self.out, one_file=self.file)
        for path in made.files:
            print(path)
        if self.file:
            print(f"\nmugrow check {made.path}")
        else:
            print(f"\npip install -e {made.path}\nmugrow check {made.name}")
