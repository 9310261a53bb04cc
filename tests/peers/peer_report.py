# SPDX-License-Identifier: MIT
"""Report pages as a browser shows them: nothing is complained of, nothing is fetched, every number in the page's document
is that of metrics.jsonl, curves and pictures are there, at 360 pixels nothing sticks out, text can be read in the light
and in the dark, and the read-out under the pointer tells the right number."""
import json
import os
import shutil
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "train")]
import browser  # noqa: E402
import check_page  # noqa: E402
import test_report as made  # noqa: E402

SCREENS = os.path.join(made.BUILD, "report-screens")

STRICT = "new XMLSerializer().serializeToString(document)"
DRAWN = """[...document.querySelectorAll('path.line, path.point')].map(p => {
  const box = p.getBoundingClientRect(), style = getComputedStyle(p);
  return box.width > 0 && box.height >= 0 && style.stroke !== 'none' && parseFloat(style.strokeWidth) > 0; })"""
PICTURES = "[...document.images].map(i => i.complete && i.naturalWidth > 0 && i.getBoundingClientRect().width > 8)"


def check_document(look, page, folders):
    """What the browser has made of the page. Returns (numbers, values, curves and clouds, pictures)."""
    look.open(page, 1280, 900)
    assert not look.complaints, look.complaints
    tree = check_page.parse(look.evaluate(STRICT))
    runs = [check_page.read_lines(folder)[0] for folder in folders]
    numbers = check_page.check_numbers(tree, runs)
    values, data = check_page.check_curves(tree, runs)
    check_page.check_gallery(tree, folders)
    drawn, pictures = look.evaluate(DRAWN), look.evaluate(PICTURES)
    assert drawn and all(drawn), f"{drawn.count(False)} curves of {len(drawn)} are not to be seen"
    assert all(pictures), f"{pictures.count(False)} pictures of {len(pictures)} are not to be seen"
    check_pointer(look, data)
    assert not look.complaints, look.complaints
    return numbers, values, len(drawn), len(pictures)


def check_pointer(look, data):
    """Beyond the middle of the loss curve: what is read out is the nearest bucket."""
    box = look.evaluate("(r => [r.left, r.top, r.width, r.height])(document.querySelector('#loss .plot').getBoundingClientRect())")
    look.move(box[0] + box[2] * 0.53, box[1] + box[3] * 0.5)
    read = look.evaluate("document.querySelector('#loss .read').textContent")
    curve = data["loss"]["curves"][0]
    last = curve.get("last", curve["first"])
    middle = data["loss"]["high"] * 0.53 / curve["x_scale"]
    nearest = min(range(len(last)), key=lambda i: abs((curve["first"][i] + last[i]) / 2 - middle))
    shown = f"{float('%.5g' % curve['mean'][nearest]):,.10g}"
    step = f"{curve['first'][nearest]:,}"
    assert read.startswith("step " + step) and shown in read, f"{read!r}, not step {step}: {shown}"
    look.move(1, 1)


def check_looks(look, page, name):
    for width, dark in ((360, False), (360, True), (1280, False), (1280, True)):
        look.open(page, width, 800, dark=dark, mobile=width < 500)
        wide, view = look.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert view == width and wide <= width, f"{name}: {wide} pixels wide at {width}"
        (contrast, whose), (size, small) = look.evaluate(browser.READABLE)
        assert contrast >= 4.5, f"{name}: contrast {contrast:.2f} of {whose} ({'dark' if dark else 'light'})"
        assert size >= 10.5, f"{name}: {size} pixels high: {small}"
        background = look.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(int(v) for v in background[4:-1].split(",")) < 200) == dark, background
        look.screenshot(os.path.join(SCREENS, f"{name}-{width}{'-dark' if dark else ''}.png"))
        assert not look.complaints, look.complaints


def check_locked(look, page):
    """A script that got in would not run: the page allows only its own."""
    look.open(page, 1280, 900)
    look.evaluate("""(() => { const s = document.createElement('script'); s.textContent = 'window.got_in = 1';
        document.body.appendChild(s); const i = document.createElement('div');
        i.innerHTML = '<img src="data:," onerror="window.got_in = 2">'; document.body.appendChild(i); })()""")
    assert look.evaluate("new Promise(r => setTimeout(r, 200)), window.got_in === undefined"), "a foreign script ran"
    assert look.complaints, "and the browser did not say that it kept it from running"


def main():
    program = browser.find()
    if program is None:
        print("SKIPPED: chromium is not installed")
        return
    os.makedirs(SCREENS, exist_ok=True)
    work = tempfile.mkdtemp()
    look = browser.Browser(program)
    try:
        path = lambda *names: os.path.join(work, *names)
        made.draw_pictures(path("data"))
        made.train(path("data"), path("real"), "--epochs", "3")
        made.train(path("data"), path("other"), "--epochs", "2", "--moco-t", "0.5")
        made.draw_pictures(path("nasty"), (b"<img src=x onerror=alert(1)>", b"\xff\xfe\"'&amp;\x01", b"]]><script>alert(2);" + b"w" * 120))
        made.train(path("nasty"), path("hostile <b>&\"'"), "--epochs", "1")
        made.make_run(path("long"), 100000, 100)
        made.report(path("long"))
        made.report(path("real"), path("other"), path("hostile <b>&\"'"), "--out", path("several.html"))
        folders = {"real": [path("real")], "hostile": [path("hostile <b>&\"'")], "long": [path("long")],
                   "several": [path("real"), path("other"), path("hostile <b>&\"'")]}
        for name, runs in folders.items():
            page = path("several.html") if name == "several" else os.path.join(runs[0], "report.html")
            print(name, "%d numbers, %d values behind curves, %d curves and clouds, %d pictures" % check_document(look, page, runs))
            check_looks(look, page, name)
        check_locked(look, os.path.join(path("real"), "report.html"))
        print("screenshots are in", SCREENS)
    finally:
        look.close()
        shutil.rmtree(work)


main()
