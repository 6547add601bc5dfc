"""What is installed is ``mugrow`` alone, from a tree, an sdist or a checkout; no class twice."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[1]
VENDORED = ROOT / "analysis" / "report" / "vendor"
PARTS = ("bench", "sweeps", "analysis")
SHIPPED = ("mugrow", *PARTS, "pyproject.toml", "README.md", "LICENSE")
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
    "setuptools"
]
BUILD = "from setuptools import build_meta; print(build_meta.build_{}({!r}))"
# Loaded by every interpreter that has its folder on the path, worker processes too: at its end it
# leaves the files of mugrow's modules, and those of every module with a class RunSpec.
PROBE = """
import atexit, json, os, sys

def leave(folder=os.path.dirname(__file__)):
    ours = {n: m.__file__ for n, m in sys.modules.items() if n.partition(".")[0] == "mugrow"}
    classes = {id(m.RunSpec) for m in list(sys.modules.values()) if hasattr(m, "RunSpec")}
    with open(os.path.join(folder, f"{os.getpid()}.json"), "w") as file:
        json.dump({"files": ours, "classes": len(classes)}, file)

atexit.register(leave)
"""


@dataclass(frozen=True)
class Installed:
    """A virtual environment, and what its processes said they imported."""

    folder: Path

    @property
    def site(self) -> Path:
        return next(self.folder.glob("lib/python*/site-packages"))

    def run(self, *words: object, cwd: Path, path: str = "") -> subprocess.CompletedProcess[str]:
        """Run a program of the environment: ``run("python", "-c", code, cwd=folder)``."""
        program, *rest = words
        environment = {**os.environ, "PYTHONPATH": path}
        return subprocess.run(
            [self.folder / "bin" / str(program), *map(str, rest)],
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )


def copied(folder: Path, links: bool = True) -> Path:
    """What is built, copied; without ``links`` as git leaves it where it cannot make them: a file
    that holds the link's target."""
    folder.mkdir(parents=True)
    clean = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in SHIPPED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=clean)
        else:
            shutil.copy(ROOT / name, folder / name)
    if not links:
        for part in PARTS:
            link = folder / "mugrow" / part
            target = os.readlink(link)
            link.unlink()
            link.write_text(target)
    return folder


def built(tree: Path, what: str, into: Path) -> Path:
    """The wheel or sdist of a tree, by the build backend itself: nothing is downloaded."""
    code = BUILD.format(what, str(into))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tree, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return into / done.stdout.splitlines()[-1]


def contents(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as file:
        return sorted(file.namelist())


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    return copied(tmp_path_factory.mktemp("packaging") / "tree")


@pytest.fixture(scope="module")
def without_links(tmp_path_factory) -> Path:
    return copied(tmp_path_factory.mktemp("packaging") / "tree", links=False)


@pytest.fixture(scope="module")
def wheel(tree) -> Path:
    return built(tree, "wheel", tree.parent)


def environment(folder: Path, *given: object) -> Installed:
    """A fresh environment with the packages of this one but mugrow, and mugrow from ``given``."""
    venv.create(folder, symlinks=True)
    made = Installed(folder)
    # A folder named in a .pth is put on the path, and its own .pth files are not read: an editable
    # install of this checkout is left out.
    (made.site / "packages.pth").write_text(sysconfig.get_path("purelib"))
    words = ("-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-build-isolation")
    checks = ("--disable-pip-version-check", "--ignore-installed")
    done = made.run("python", *words, *checks, *given, cwd=folder)
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Installed:
    return environment(tmp_path_factory.mktemp("installed") / "venv", wheel)


@pytest.fixture(scope="module")
def editable(tree, tmp_path_factory) -> Installed:
    return environment(tmp_path_factory.mktemp("editable") / "venv", "-e", tree)


# --- what is in it -----------------------------------------------------------------------------


def packages() -> Iterator[tuple[str, Path]]:
    """Every folder of the tree that is a package, by the name it is imported by."""
    yield "mugrow", ROOT / "mugrow"
    for part in PARTS:
        for init in (ROOT / part).rglob("__init__.py"):
            relative = init.parent.relative_to(ROOT)
            yield ".".join(("mugrow", *relative.parts)), init.parent


def test_every_folder_with_modules_is_a_package_and_listed():
    assert sorted(SETTINGS["packages"]) == sorted(name for name, _ in packages())
    assert sorted(SETTINGS["packages"]) == SETTINGS["packages"]
    homes = {folder for _, folder in packages()}
    for part in PARTS:
        assert {path.parent for path in (ROOT / part).rglob("*.py")} <= homes


def test_the_links_and_the_list_say_the_same():
    for part in PARTS:
        assert (ROOT / "mugrow" / part).resolve() == ROOT / part
        assert SETTINGS["package-dir"][f"mugrow.{part}"] == part


def test_the_wheel_is_every_file_of_mugrow_and_nothing_else(wheel):
    files = contents(wheel)
    assert {name.split("/")[0].split("-")[0] for name in files} == {"mugrow"}
    expected = {
        "/".join((*name.split("."), path.name))
        for name, folder in packages()
        for path in folder.iterdir()
        if path.is_file()
    } | {f"mugrow/{path.relative_to(ROOT).as_posix()}" for path in VENDORED.rglob("*.*")}
    expected.add(f"mugrow/{(VENDORED / 'uplot' / 'LICENSE').relative_to(ROOT).as_posix()}")
    ours = {name for name in files if name.startswith("mugrow/")}
    assert ours == expected
    assert "mugrow/py.typed" in ours
    assert "mugrow/analysis/report/base.html.j2" in ours


def test_the_wheel_from_the_sdist_is_the_same(tree, wheel, tmp_path):
    sdist = built(tree, "sdist", tmp_path)
    with tarfile.open(sdist) as file:
        file.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert contents(built(unpacked, "wheel", tmp_path)) == contents(wheel)


def test_the_wheel_of_a_clone_without_links_is_the_same(without_links, wheel, tmp_path):
    assert contents(built(without_links, "wheel", tmp_path)) == contents(wheel)


# --- what is imported --------------------------------------------------------------------------


@pytest.fixture
def imported(installed, tmp_path) -> Callable[..., list[dict[str, object]]]:
    """Run a program of the environment with the probe; what each of its processes imported."""

    def run(*words: object, cwd: Path, of: Installed = installed) -> list[dict[str, object]]:
        probe = tmp_path / "probe"
        probe.mkdir(exist_ok=True)
        (probe / "sitecustomize.py").write_text(PROBE)
        done = of.run(*words, cwd=cwd, path=str(probe))
        assert done.returncode == 0, done.stderr
        left = [json.loads(path.read_text()) for path in sorted(probe.glob("*.json"))]
        return [one for one in left if one["files"]]

    return run


def homes(said: dict[str, object], *roots: Path) -> set[Path]:
    """Which of ``roots`` the files of a process lie in, links followed; one that lies in none of
    them fails."""
    files = said["files"]
    assert isinstance(files, dict)
    real = [Path(path).resolve() for path in files.values()]
    assert len(set(real)) == len(real), "one file was imported under two names"
    assert said["classes"] in (0, 1)
    found = {root for root in roots for path in real if path.is_relative_to(root.resolve())}
    assert all(any(path.is_relative_to(root.resolve()) for root in roots) for path in real)
    return found


SPAWNED = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from mugrow.bench.spec import RunSpec, unknown

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        executor.submit(unknown, "method", "a", ("b",)).result()
"""


def test_in_a_checkout_the_program_is_the_installed_one(imported, installed, tree):
    """A console script has its own folder on the path, not the caller's."""
    (said,) = imported("mugrow", "list", "studies", cwd=tree)
    assert homes(said, installed.site, tree) == {installed.site}
    assert said["classes"] == 1


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_in_a_checkout_python_imports_the_checkout_in_workers_too(
    imported, installed, tree, without_links, links
):
    """``python -c`` has the caller's folder first: there all of mugrow is the checkout's."""
    root = tree if links else without_links
    said = imported("python", "-c", SPAWNED, cwd=root)
    assert len([one for one in said if one["classes"]]) == 2  # the program and its worker
    for one in said:
        assert homes(one, installed.site, root) == {root}


def test_elsewhere_an_editable_install_is_the_checkout(imported, editable, tree, tmp_path):
    said = imported("python", "-c", SPAWNED, cwd=tmp_path, of=editable)
    assert len([one for one in said if one["classes"]]) == 2
    for one in said:
        assert homes(one, editable.site, tree) == {tree}


@pytest.mark.parametrize("part", PARTS)
def test_from_the_root_a_part_says_what_to_import(installed, tree, tmp_path, part):
    code = f"import {part}"
    at_root = installed.run("python", "-c", code, cwd=tree).stderr.splitlines()[-1]
    assert at_root == f"ImportError: {part} is a part of mugrow: import mugrow.{part}"


@pytest.mark.parametrize("kind", ["installed", "editable"])
def test_elsewhere_there_are_no_parts(kind, request, tmp_path):
    env = request.getfixturevalue(kind)
    code = "import importlib.util as u; print(*map(u.find_spec, ('bench', 'sweeps', 'analysis')))"
    assert env.run("python", "-c", code, cwd=tmp_path).stdout == "None None None\n"


PYTHON = ("python", "-c", "from mugrow.sweeps.cli import main; main()")


@pytest.mark.parametrize("start", [("mugrow",), PYTHON], ids=["program", "python -c"])
def test_files_of_a_users_own_are_not_taken_for_ours(installed, tmp_path, start):
    for part in PARTS:
        (tmp_path / f"{part}.py").write_text("raise SystemExit('the user\\'s own was imported')")
    rows = [f"{m},{n},{5 - n / 9 - (m == 'a') / 9}" for m in ("a", "scratch") for n in range(1, 9)]
    (tmp_path / "curves.csv").write_text("\n".join(["method,flops,loss", *rows]) + "\n")
    listed = installed.run(*start, "list", "methods", cwd=tmp_path)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "hypercloning" in listed.stdout
    words = ("savings", "curves.csv", "--run", "method", "--x", "flops", "--loss", "loss")
    saved = installed.run(*start, *words, "--baseline", "scratch", cwd=tmp_path)
    assert (saved.returncode, saved.stderr) == (0, "")
    assert saved.stdout


OLD = {
    "import bench.growth as g": "it imports bench.growth; import mugrow.bench.growth instead",
    "from bench.growth import GrowthMethod": (
        "it imports bench.growth; import mugrow.bench.growth instead"
    ),
    "from analysis import stats": "it imports analysis; import mugrow.analysis instead",
}


@pytest.mark.parametrize("at_root", [True, False])
@pytest.mark.parametrize("line", OLD)
def test_a_plug_in_of_before_is_told_what_to_import(installed, tree, tmp_path, line, at_root):
    (tmp_path / "theirs.py").write_text(f"import os\n{line}\n")
    about = tmp_path / "theirs-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[mugrow.laws]\ntheirs = theirs:FORM\n")
    code = (
        "from mugrow.bench.entries import Registry\n"
        "r = Registry('law', int, 'mugrow.bench', 'X', (), 'mugrow.laws')\n"
        "try: r.get('theirs')\n"
        "except ValueError as error: print(error)"
    )
    where = tree if at_root else tmp_path
    done = installed.run("python", "-c", code, cwd=where, path=str(tmp_path))
    assert done.stdout == f"plug-in law 'theirs' cannot be loaded: {OLD[line]}\n", done.stderr


# --- types -------------------------------------------------------------------------------------


def test_a_strict_type_checker_sees_the_types(installed, tmp_path):
    """The package says that it is typed; of the rest no more is read than the client imports."""
    (tmp_path / "client.py").write_text(
        "from mugrow.bench.spec import RunSpec\n\n"
        "def identity(spec: RunSpec) -> str:\n    return spec.run_id\n\n"
        "def wrong(spec: RunSpec) -> int:\n    return spec.run_id\n"
    )
    (tmp_path / "mypy.ini").write_text(
        "[mypy]\nstrict = True\n[mypy-mugrow]\nfollow_imports = skip\n"
    )
    python = ("--python-executable", str(installed.folder / "bin" / "python"))
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *python, "client.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": ""},
    )  # fmt: skip
    errors = re.findall(r"error: .*", done.stdout)
    assert errors == [
        'error: Incompatible return value type (got "str", expected "int")  [return-value]'
    ], done.stdout + done.stderr
