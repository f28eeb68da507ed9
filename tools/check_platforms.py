"""Check that the client and the command line fit Windows and macOS, as far as that is possible on this machine.

    python tools/check_platforms.py             type checks as on these platforms
    python tools/check_platforms.py --wheels    checks that all dependencies have wheels: needs uv and the index

`nox -s client` simulates running there.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHECKED = ("lume_async", "lume_sync", "lume_cli")
TYPES = {"win32": "Windows", "darwin": "Darwin"}
"""The names of the platforms for mypy and pyright."""
WHEELS = {
    "win_amd64": "x86_64-pc-windows-msvc",
    "macosx_11_0_arm64": "aarch64-apple-darwin",
    "macosx_11_0_x86_64": "x86_64-apple-darwin",
}
"""The names of the platforms for pip and uv."""
EXTRAS = ("cli", "otel", "socks")
PYTHONS = ("3.11", "3.13")


def types() -> bool:
    """Return whether the type checkers find nothing, and every opened text file names its encoding.

    The default encoding of Windows is not UTF-8.
    """
    good = ran("ruff", "check", "--preview", "--select=PLW1514", *CHECKED)
    for mypy_s, pyright_s in TYPES.items():
        # A cache per platform, since each would discard that of another.
        cache = f"--cache-dir={ROOT / '.mypy_cache' / mypy_s}"
        good &= ran("mypy", f"--platform={mypy_s}", "--follow-imports=silent", cache, *CHECKED)
        good &= ran("pyright", "--pythonpath", sys.executable, f"--pythonplatform={pyright_s}", *CHECKED)
    return good


def wheels() -> bool:
    """Return whether the newest versions of all requirements have wheels."""
    good = True
    for pip_s, uv_s in WHEELS.items():
        for python in PYTHONS:
            with tempfile.TemporaryDirectory() as folder:
                pins = Path(folder) / "pins.txt"
                # uv resolves for the other platform; pip would also apply the markers of the one that it runs on.
                good &= ran(
                    *("uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate", "pyproject.toml"),
                    *(f"--extra={name}" for name in EXTRAS),
                    *(f"--python-platform={uv_s}", f"--python-version={python}", f"--output-file={pins}"),
                )
                good &= ran(
                    *(
                        "pip",
                        "download",
                        "--quiet",
                        "--no-deps",
                        "--only-binary=:all:",
                        f"--platform={pip_s}",
                    ),
                    *(f"--python-version={python}", f"--dest={folder}", f"--requirement={pins}"),
                )
                print(f"{pip_s}, Python {python}: {len(list(Path(folder).glob('*.whl')))} wheels", flush=True)
    return good


def ran(module: str, *words: str) -> bool:
    """Return whether `python -m module words` succeeded."""
    print("--", module, *words, flush=True)
    return subprocess.run([sys.executable, "-m", module, *words], cwd=ROOT).returncode == 0


if __name__ == "__main__":
    sys.exit(not (wheels() if "--wheels" in sys.argv[1:] else types()))
