# SPDX-License-Identifier: MIT
"""The HTML reference as a browser shows it: every page is the one that was asked for, asks for nothing, complains of nothing,
sticks out nowhere at 360 and 1200 pixels, and can be read in the light and in the dark. Screenshots of
some stay in BUILD/reference-screens."""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import browser  # noqa: E402

BUILD = os.environ.get("BUILD", "build")
SCREENS = os.path.join(BUILD, "reference-screens")


def look_at(look, page, name):
    for width, dark in ((360, False), (360, True), (1200, False), (1200, True)):
        look.open(page, width, 900, dark=dark, mobile=width < 500)
        title = look.evaluate("document.title")
        assert "moco" in title, f"{name} is another page: {title!r}"
        wide, view = look.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert view == width and wide <= width, f"{name}: {wide} pixels wide at {width}"
        (contrast, whose), (size, small) = look.evaluate(browser.READABLE)
        assert contrast >= 4.5, f"{name}: contrast {contrast:.2f} of {whose} ({'dark' if dark else 'light'})"
        assert size >= 10.5, f"{name}: {size} pixels high: {small}"
        if name in ("index", "data", "programs"):
            look.screenshot(os.path.join(SCREENS, f"{name}-{width}{'-dark' if dark else ''}.png"))
        assert not look.complaints, look.complaints


def main():
    program = browser.find()
    if program is None:
        print("SKIPPED: chromium is not installed")
        return
    os.makedirs(SCREENS, exist_ok=True)
    folder = os.path.join(BUILD, "html")
    pages = sorted(name for name in os.listdir(folder) if name.endswith(".html"))
    assert len(pages) >= 16, pages
    look = browser.Browser(program)
    try:
        for page in pages:
            look_at(look, os.path.join(folder, page), page[:-5])
    finally:
        look.close()
    print(f"{len(pages)} pages")


if __name__ == "__main__":
    main()
