"""The checks of ./scripts/test, one by one and on other Pythons: `pip install nox uv`, then `nox --list`.

Interpreters that are not installed are skipped. Arguments after `--` go to pytest: `nox -s tests-3.12 -- -k retry`.
"""

import sys
from pathlib import Path
from typing import Any

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_missing_interpreters = False
nox.options.reuse_venv = "yes"
nox.options.sessions = [
    "lint",
    "types",
    "docs",
    "package",
    "audit",
    "licences",
    "wheels",
    "lowest",
    "newest",
    "tests",
]

PYPROJECT = nox.project.load_toml("pyproject.toml")
SUPPORTED = nox.project.python_versions(PYPROJECT)
TRIED = [*SUPPORTED, "3.14"]  # 3.14 becomes a classifier when the whole suite has passed on it
SERVER = nox.project.load_toml("server/pyproject.toml")
WHOLE = ("-e", ".[cli,speed]", "-e", "./server")
"""Client and server, for contributors."""


def with_all_extras(project: dict[str, Any], folder: str) -> str:
    """A distribution of a folder with everything that its users may install."""
    return f"{folder}[{','.join(project['project']['optional-dependencies'])}]"


INSTALLED = (with_all_extras(PYPROJECT, "."), with_all_extras(SERVER, "./server"))
"""What users install; Airflow pins its own dependencies."""
OURS = ("--no-emit-package=lume-client", "--no-emit-package=lume-local")
"""For `uv pip compile`: they are not on the index yet."""
PERMISSIVE = (
    *("Apache", "BSD", "ISC", "MIT", "PSF", "Python Software Foundation", "Unlicense", "Zlib"),
    *("EPL", "MPL", "Mozilla Public", "LGPL"),  # asyncssh, certifi, psycopg: imported, not changed
)
"""Licences that go with Apache-2.0 for users who only install and import."""
TRIED_WITH = ["tests/async", "tests/sync", "server/tests/local", "tests/cli", "tests/faults"]
"""What depends on the version of a dependency."""
CLIENT_TESTS = ["tests/windows", "tests/async", "tests/sync"]
"""What needs no embedded server."""


def group(name: str) -> list[str]:
    """The requirements of a dependency group."""
    return list(nox.project.dependency_groups(PYPROJECT, name))


@nox.session(python=TRIED)
def tests(session: nox.Session) -> None:
    """The test suite, on each Python."""
    session.install(*WHOLE, *group("dev"))
    session.run("pytest", "-q", *session.posargs)


@nox.session(python=SUPPORTED[0], venv_backend="uv")
def lowest(session: nox.Session) -> None:
    """The test suite with the lowest version that each direct dependency is said to work with."""
    pins = Path(session.create_tmp()) / "lowest.txt"
    wanted = pins.with_name("wanted.txt")
    wanted.write_text("".join(f"-e {name}\n" for name in (".[cli,speed,otel]", "./server")))
    # fmt: off
    session.run_install(
        "uv", "pip", "compile", "--quiet", "--resolution=lowest-direct", f"--python={session.python}",
        "--no-header", "--no-annotate", *OURS, f"--output-file={pins}", str(wanted),
        external=True,
    )
    # fmt: on
    session.install(*WHOLE, *group("test"), *group("lint"), f"--constraint={pins}")
    session.run("pytest", "-q", *(session.posargs or TRIED_WITH))


@nox.session(python=SUPPORTED[-1], venv_backend="uv")
def newest(session: nox.Session) -> None:
    """The same with the newest version of each dependency that is published today."""
    session.install("--upgrade", *WHOLE, *group("test"), *group("lint"))
    session.run("pytest", "-q", *(session.posargs or TRIED_WITH))


@nox.session(python=SUPPORTED[-1])
def lint(session: nox.Session) -> None:
    """Generated code, lint and format."""
    session.install("-e", ".", *group("lint"))
    session.run("python", "tools/generate_sync.py", "--check")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session(python=SUPPORTED[-1])
def types(session: nox.Session) -> None:
    """Both type checkers, and whether every public name has a type."""
    session.install(*WHOLE, *group("dev"))
    interpreter = f"{session.virtualenv.bin}/python"
    session.run("mypy")
    session.run("pyright", "--pythonpath", interpreter)
    session.run("python", "tools/check_platforms.py")
    session.run("pytest", "-q", "tests/test_exports.py")  # every public name has a known type


@nox.session(python=SUPPORTED[-1])
def client(session: nox.Session) -> None:
    """The client and the command line without the server: on Windows and macOS; on Linux as if it were Windows."""
    session.install(*WHOLE, *group("test"), *group("lint"))
    env = {"PYTHONPATH": "tests/without_posix"} if sys.platform == "linux" else {}
    session.run("pytest", "-q", *(session.posargs or CLIENT_TESTS), env=env)


@nox.session(python=SUPPORTED[0], venv_backend="uv")
def constraints(session: nox.Session) -> None:
    """Renew `constraints.txt`: the versions that `./scripts/test` installs."""
    wanted = Path(session.create_tmp()) / "wanted.txt"
    wanted.write_text("".join(f"-e {name}\n" for name in INSTALLED))
    # fmt: off
    session.run(
        "uv", "pip", "compile", "--quiet", "--upgrade", "--universal", f"--python-version={SUPPORTED[0]}",
        "--no-header", "--no-annotate", *OURS, "--group=dev", "--output-file=constraints.txt", str(wanted),
        external=True,
    )
    # fmt: on


@nox.session(python=SUPPORTED[-1])
def wheels(session: nox.Session) -> None:
    """Whether everything that the client and the command line need has wheels for Windows and macOS; asks PyPI."""
    session.install("uv", "pip>=25.1")
    session.run("python", "tools/check_platforms.py", "--wheels")


@nox.session(python=SUPPORTED[-1])
def docs(session: nox.Session) -> None:
    """The documentation, strictly; broken links and references are errors."""
    session.install(*WHOLE, *group("docs"))
    session.run("mkdocs", "build", "--strict", "--quiet", env={"NO_MKDOCS_2_WARNING": "1"})
    session.run("python", "tools/check_pages.py")  # skipped where there is no chromium


@nox.session(python=SUPPORTED[-1], venv_backend="uv")
def audit(session: nox.Session) -> None:
    """Known vulnerabilities of everything that users install, by pip-audit, which asks PyPI."""
    pins = Path(session.create_tmp()) / "newest.txt"
    wanted = pins.with_name("wanted.txt")
    wanted.write_text("".join(f"-e {name}\n" for name in INSTALLED))
    # fmt: off
    session.run(
        "uv", "pip", "compile", "--quiet", f"--python={session.python}", "--no-header", "--no-annotate", *OURS,
        f"--output-file={pins}", str(wanted),
        external=True,
    )
    # fmt: on
    session.install("pip-audit>=2.9")
    # What can't be looked up fails: a pass would say nothing about it.
    session.run(
        "pip-audit", "--strict", "--no-deps", "--disable-pip", f"--requirement={pins}", *session.posargs
    )


@nox.session(python=SUPPORTED[-1])
def licences(session: nox.Session) -> None:
    """The licences of everything that users install: none may ask more of them than this project's own does."""
    session.install(*INSTALLED, "pip-licenses>=5")
    own = ["lume-client", "lume-local", "pip-licenses", "prettytable", "wcwidth", "tomli"]
    session.run(
        "pip-licenses", "--from=mixed", "--partial-match", f"--allow-only={';'.join(PERMISSIVE)}",
        "--ignore-packages", *own, *session.posargs,
    )  # fmt: skip


@nox.session(python=False)
def airflow(session: nox.Session) -> None:
    """Four real Airflow processes over PostgreSQL, and kills: about 20 minutes, too long for `.ci/run`."""
    session.run("./scripts/test-airflow", *session.posargs, external=True)


@nox.session(python=SUPPORTED)
def package(session: nox.Session) -> None:
    """All distributions are built and checked, and the client works alone, without extras."""
    dist = Path(session.create_tmp()) / "dist"
    for old in dist.glob("*"):
        old.unlink()
    session.install("build", "twine")
    for folder in (".", "server", "airflow"):
        session.run("python", "-m", "build", "--outdir", str(dist), folder)
    session.run("twine", "check", "--strict", *map(str, dist.iterdir()))
    (wheel,) = dist.glob("lume_client-*.whl")
    session.install("--reinstall" if session.venv_backend == "uv" else "--force-reinstall", str(wheel))
    session.chdir(session.create_tmp())  # so that the source tree is not what is imported
    session.run(
        "python", "-W", "error", "-c", "import lume_async, lume_sync; lume_async.Client, lume_sync.Client"
    )
