"""Runs the examples of the documentation, page by page, as a reader would from top to bottom.

``python docs/examples.py`` runs every page and says where what is printed differs from what the page shows;
``--write`` puts what is printed into the pages; names of pages may follow. The tests call :func:`run_page`.

What a page holds:

- a block of ``shell`` or ``python`` is run; blocks of Python share their names;
- a block of ``text`` right after it is what it prints; a line ``...`` there stands for any lines, and numbers may differ;
- a block with a caption is a file of that name, which is written;
- a line ``% needs: soundfile PIL`` ends the page for whoever lacks one of these packages;
- every file of ``tutorials/files`` is there from the start.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
import traceback
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
ROOT = DOCS.parent
FENCE = re.compile(
    r"^```(?:\{code-block\} )?(?P<language>\w+)\n(?::caption: (?P<caption>\S+)\n\n?)?(?P<code>.*?)^```$"
    r"|^% needs: (?P<needs>[^\n]+)$",
    re.MULTILINE | re.DOTALL,
)
ELSEWHERE = ("pip install", "python -m pytest", "torchrun")
"""Commands that are not run: they change the machine or need the repository. What they name is checked."""


class Different(AssertionError):
    """What an example prints is not what its page shows, or it fails."""


@dataclass(frozen=True)
class Block:
    """An example.

    Attributes:
        page: Where it stands.
        line: Its line there.
        language: ``shell``, ``python`` or that of a file.
        code: The example.
        caption: Name of the file, if it is one.
        shown: What the page says that it prints; None where it says nothing.
        span: Where that stands in the text of the page.
    """

    page: Path
    line: int
    language: str
    code: str
    caption: str | None
    shown: str | None
    span: tuple[int, int]


def pages() -> list[Path]:
    """Return the pages that have examples."""
    found = [page for page in sorted(DOCS.rglob("*.md")) if not {"generated", "_build"} & set(page.relative_to(DOCS).parts)]
    return [page for page in found if any(isinstance(item, Block) for item in read_page(page))]


def read_page(page: Path) -> list[Block | str]:
    """Return the examples of a page, and between them the names of packages from which on they are needed."""
    text = page.read_text(encoding="utf-8")
    found: list[Block | str] = []
    matches = list(FENCE.finditer(text))
    for number, match in enumerate(matches):
        if match["needs"]:
            found.append(match["needs"])
            continue
        if match["language"] == "text" or (match["language"] not in ("shell", "python") and not match["caption"]):
            continue
        after = matches[number + 1] if number + 1 < len(matches) else None
        follows = after is not None and after["language"] == "text" and not text[match.end() : after.start()].strip()
        found.append(
            Block(
                page=page,
                line=text.count("\n", 0, match.start()) + 1,
                language=match["language"],
                code=match["code"],
                caption=match["caption"],
                shown=after["code"] if follows and after is not None else None,
                span=after.span("code") if follows and after is not None else (0, 0),
            )
        )
    return found


def run_page(page: Path, folder: Path) -> Generator[tuple[Block, str], None, None]:
    """Run the examples of a page in an empty folder; yield each with what it printed.

    Raises:
        Different: An example fails.
        ModuleNotFoundError: A package is not installed that the page needs from here on.
    """
    for file in sorted((DOCS / "tutorials" / "files").glob("*.py")):
        shutil.copy(file, folder)
    names: dict[str, Any] = {"__name__": "__main__"}
    with _as_found(folder):
        for item in read_page(page):
            if isinstance(item, str):
                for package in item.split():
                    if importlib.util.find_spec(package) is None:
                        raise ModuleNotFoundError(f"{page.name} needs {package}", name=package)
            elif item.caption:
                path = folder / item.caption
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(item.code, encoding="utf-8")
            else:
                try:
                    printed = _python(item, names) if item.language == "python" else _shell(item)
                except Different:
                    raise
                except Exception as error:
                    raise Different(f"{page.name}, line {item.line}: {traceback.format_exc()}") from error
                yield item, printed


@contextlib.contextmanager
def _as_found(folder: Path) -> Iterator[None]:
    """Work in a folder as a new process would, and leave this process as it was."""
    from equipoise.methods.base import METHODS

    METHODS.names()
    kept = (os.getcwd(), dict(os.environ), list(sys.path), set(sys.modules), dict(METHODS._items))
    os.chdir(folder)
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])  # python is this one
    os.environ.update(COLUMNS="96", EQUIPOISE_CACHE=str(folder / ".cache"), PATH=programs)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        os.chdir(kept[0])
        os.environ.clear()
        os.environ.update(kept[1])
        sys.path[:] = kept[2]
        for name in set(sys.modules) - kept[3]:
            if str(getattr(sys.modules[name], "__file__", "") or "").startswith(str(folder)):
                del sys.modules[name]
        METHODS._items = kept[4]


def _python(block: Block, names: dict[str, Any]) -> str:
    out = io.StringIO()
    # lines before it, so that a traceback names the line of the page
    code = compile("\n" * block.line + block.code, str(block.page), "exec")
    with contextlib.redirect_stdout(out):
        exec(code, names)
    return out.getvalue()


def _shell(block: Block) -> str:
    return "".join(_command(line, block) for line in re.sub(r"\\\n\s*", "", block.code).splitlines() if line.strip())


def _command(line: str, block: Block) -> str:
    if line == "pip install -e .":
        return _install(Path.cwd())
    if line.startswith(ELSEWHERE):
        _check(line)
        return ""
    if not line.startswith("equipoise "):
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Different(f"{block.page.name}, line {block.line}: {line}\n{done.stderr}")
        return done.stdout
    from equipoise.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(shlex.split(line)[1:])
        except SystemExit as stopped:  # --help
            code = int(stopped.code or 0)
    failed = "".join(text for text in err.getvalue().splitlines(keepends=True) if text.startswith("error: "))
    if code and "error: " not in (block.shown or ""):
        raise Different(f"{block.page.name}, line {block.line}: {line} ended with {code}: {err.getvalue()}")
    return out.getvalue() + failed


def _check(line: str) -> None:
    """Check that what a command names exists: extras of pip, paths of pytest."""
    words = shlex.split(line)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extras in re.findall(r"\[([\w,]+)\]", line) if words[0] == "pip" else []:
        missing = set(extras.split(",")) - set(project["optional-dependencies"])
        if missing:
            raise Different(f"{line}: there is no extra {sorted(missing)}")
    for word in words:
        if word.startswith(("tests/", "src/")) and not (ROOT / word).exists():
            raise Different(f"{line}: there is no {word}")


def _install(folder: Path) -> str:
    """Do what ``pip install -e .`` does for entry points: leave a note of them where Python looks."""
    from equipoise.methods.base import METHODS

    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(groups))
    importlib.invalidate_caches()
    METHODS._discovered = False
    return ""


def same(shown: str, printed: str) -> bool:
    r"""Return whether a page shows what was printed: numbers may differ, and ``...`` stands for any lines.

    Example:
        >>> same("epoch 3, loss 0.71\n...\ndone\n", "epoch 3, loss 0.69\nlonger\nthan that\ndone\n")
        True
    """

    def plain(text: str) -> str:
        return " ".join(re.sub(r"[-+]?\d+(\.\d+)?(e[-+]?\d+)?|[─━]+", "#", text).split())

    pattern = re.escape(plain(re.sub(r"(?m)^\.\.\.$", " ELLIPSIS ", shown)))
    return re.fullmatch(re.sub(r"(\\ )?ELLIPSIS(\\ )?", ".*", pattern), plain(printed)) is not None


def check_page(page: Path, folder: Path) -> None:
    """Run a page and compare.

    Raises:
        Different: An example fails or prints something else.
    """
    with contextlib.closing(run_page(page, folder)) as found:
        for block, printed in found:
            if block.shown is not None and not same(block.shown, printed):
                raise Different(f"{page.name}, line {block.line}, shows:\n{block.shown}\nand prints:\n{printed}")


def write_page(page: Path, folder: Path) -> None:
    """Run a page and put what is printed into it, but where the page leaves lines out by ``...`` and the rest is still true."""
    text, moved = page.read_text(encoding="utf-8"), 0
    try:
        for block, printed in run_page(page, folder):
            if block.shown is None or ("\n...\n" in f"\n{block.shown}" and same(block.shown, printed)):
                continue
            first, last = (place + moved for place in block.span)
            new = "".join(f"{line.rstrip()}\n" for line in printed.rstrip().splitlines())
            text = text[:first] + new + text[last:]
            moved += len(new) - (last - first)
    finally:
        page.write_text(text, encoding="utf-8")


def main() -> int:
    """Run pages."""
    parser = argparse.ArgumentParser(description="Run the examples of the documentation.")
    parser.add_argument("--write", action="store_true", help="put what is printed into the pages")
    parser.add_argument("pages", nargs="*", type=Path, help="pages [all]")
    arguments = parser.parse_args()
    failures = 0
    for page in [item.resolve() for item in arguments.pages] or pages():
        with tempfile.TemporaryDirectory() as folder:
            try:
                (write_page if arguments.write else check_page)(page, Path(folder).resolve())
                print(f"{page.relative_to(DOCS)}: done", flush=True)
            except (Different, ModuleNotFoundError) as error:
                failures += 1
                print(error, file=sys.stderr)
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
