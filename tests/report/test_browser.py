"""The page in a browser: it renders without an error, fits a telephone, and its tables sort and filter.

The page is put into a frame of a given width, inside a page that looks into it and writes down what it sees.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)

pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs Chromium or Chrome; none is installed")

CAPTION = "Samples of most disagreement"

LOOK = """
const frame = document.querySelector("iframe"), seen = {errors: []};
frame.addEventListener("load", () => {
  const page = frame.contentDocument, root = page.documentElement;
  if (!page.querySelector("main")) return;
  for (const item of page.querySelectorAll("details")) item.open = true;
  seen.width = root.scrollWidth;
  seen.body = page.body.scrollWidth;
  seen.paper = frame.contentWindow.getComputedStyle(page.body).backgroundColor;
  seen.pictures = Array.from(page.querySelectorAll("svg")).map((item) => item.getBoundingClientRect().width);
  seen.boxes = Array.from(page.querySelectorAll(".scroll")).map((item) => item.getBoundingClientRect().right);
  seen.fill = frame.contentWindow.getComputedStyle(page.querySelector("svg rect.s0, svg circle")).fill;
  const table = Array.from(page.querySelectorAll("table")).find((item) => item.caption.textContent === CAPTION);
  const rows = () => Array.from(table.tBodies[0].rows).filter((row) => !row.hidden);
  const read = (column) => rows().map((row) => row.cells[column].textContent);
  seen.before = read(0);
  const buttons = table.querySelectorAll("thead button");
  if (buttons.length) {
    buttons[4].click();
    seen.up = read(4);
    seen.sorted = table.tHead.rows[0].cells[4].getAttribute("aria-sort");
    buttons[4].click();
    seen.down = read(4);
    buttons[1].click();
    seen.words = read(1);
    const input = page.querySelector(".filter input");
    input.value = "WRONG";
    input.dispatchEvent(new Event("input"));
    seen.filtered = read(3);
    seen.count = page.querySelector(".filter [role=status]").textContent;
  }
  document.body.textContent = JSON.stringify(seen);
});
"""


def look(text: str, folder: Path, width: int, *flags: str, scripts: bool = True) -> tuple[dict[str, Any], str]:
    """Open a page in a frame of a width; return what is seen of it and what the browser complained about."""
    held = "" if scripts else ' sandbox="allow-same-origin"'
    script = LOOK.replace("CAPTION", json.dumps(CAPTION))
    frame = f'<iframe{held} style="border: 0; width: {width}px; height: 900px" srcdoc="{html.escape(text)}"></iframe>'
    path = folder / "look.html"
    path.write_text(f'<!doctype html><meta charset="utf-8"><body style="margin: 0">{frame}<script>{script}</script></body>')
    options = (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        f"--user-data-dir={folder / 'profile'}",
    )
    command = [
        str(BROWSER),
        *options,
        *flags,
        "--virtual-time-budget=5000",
        "--window-size=1400,1000",
        "--dump-dom",
        path.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    body = re.search(r"<body[^>]*>(\{.*\})</body>", done.stdout, re.DOTALL)
    assert body, done.stdout[-2000:] + done.stderr[-2000:]
    return json.loads(html.unescape(body[1])), "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


def test_it_fits_a_telephone_and_sorts_and_filters(text: str, found: dict[str, Any], tmp_path: Path) -> None:
    seen, complaints = look(text, tmp_path, 375)
    assert complaints == ""
    assert seen["width"] <= 375
    assert seen["body"] <= 375
    assert all(200 < width <= 375 for width in seen["pictures"])
    assert all(right <= 375 for right in seen["boxes"])
    told = found["samples"]["samples"]
    assert seen["before"] == [item["id"] for item in told]
    confidences = sorted(item["confidence"] for item in told)
    assert seen["up"] == [f"{value:.3f}" for value in confidences]
    assert seen["down"] == [f"{value:.3f}" for value in confidences[::-1]]
    assert seen["sorted"] == "ascending"
    assert sorted(seen["words"]) == sorted(item["label"] for item in told)
    assert [one for one, two in zip(seen["words"], seen["words"][1:], strict=False) if one != two] == sorted(
        {item["label"] for item in told} - {seen["words"][-1]}, key=seen["words"].index
    )
    wrong = sum(item["label"] != item["predicted"] for item in told)
    assert 0 < wrong < len(told)
    assert seen["filtered"] == ["wrong"] * wrong
    assert seen["count"] == f"{wrong} of {len(told)}"


def test_light_and_dark(text: str, tmp_path: Path) -> None:
    light, _ = look(text, tmp_path, 1200, "--blink-settings=preferredColorScheme=1")
    dark, _ = look(text, tmp_path, 1200, "--blink-settings=preferredColorScheme=0")
    assert light["paper"] == "rgb(255, 255, 255)"
    assert dark["paper"] == "rgb(22, 22, 26)"
    assert light["fill"] != dark["fill"]
    assert light["width"] <= 1200


def test_it_is_whole_without_javascript(text: str, found: dict[str, Any], tmp_path: Path) -> None:
    seen, _ = look(text, tmp_path, 375, scripts=False)
    assert "up" not in seen
    assert seen["before"] == [item["id"] for item in found["samples"]["samples"]]
    assert seen["width"] <= 375
