# SPDX-License-Identifier: MIT
"""Report pages as a browser shows them: nothing is complained of, nothing is fetched, every number in the page's document
is that of metrics.jsonl, curves and pictures are there, at 360 pixels nothing sticks out, text can be read in the light
and in the dark and covers no other, frames are aligned, what is read out under the pointer is the right number and the
right picture, and a page that is older than it should be says so."""
import fcntl
import json
import math
import os
import re
import shutil
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "train", "report")]
import browser  # noqa: E402
import check_page  # noqa: E402
import test_report as made  # noqa: E402

SCREENS = os.path.join(made.BUILD, "report-screens")

STRICT = "new XMLSerializer().serializeToString(document)"
DRAWN = """[...document.querySelectorAll('path.line, path.point')].filter(p => p.checkVisibility()).map(p => {
  const box = p.getBoundingClientRect(), style = getComputedStyle(p);
  return box.width > 0 && box.height >= 0 && (style.fill !== 'none' || style.stroke !== 'none' && parseFloat(style.strokeWidth) > 0); })"""
PICTURES = "[...document.images].map(i => i.className === 'pieces' ? i.naturalWidth > 8 : i.complete && i.naturalWidth > 0 && i.getBoundingClientRect().width > 8)"


# Words of one figure that lie on each other: [one, other], ...
OVERLAPS = """(() => {
  const found = [];
  for (const figure of document.querySelectorAll('figure.chart, figure.map')) {
    const words = [...figure.querySelectorAll('.x, .y, .note, .name, .now, .about, figcaption > b')].filter(
      e => e.checkVisibility() && e.textContent.trim() && !e.closest('label .about, label')).map(e => [e, e.getBoundingClientRect()]);
    words.forEach(([a, p], i) => words.slice(i + 1).forEach(([b, q]) => {
      const wide = Math.min(p.right, q.right) - Math.max(p.left, q.left), high = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
      const notes = a.matches('.note') && b.matches('.note'); // which may have to share a place
      if (wide > 1 && high > 3 && !notes && !a.contains(b) && !b.contains(a)) found.push(figure.id + ': ' + a.textContent + ' | ' + b.textContent);
    }));
  }
  return found;
})()"""
# The plots of each column begin and end at the same place.
FRAMES = """[...document.querySelectorAll('.charts .chart:not(.wide) .plot')].map(p => p.getBoundingClientRect()).map(
  r => [Math.round(r.left), Math.round(r.width), Math.round(r.height)])"""


def check_frames(look, name):
    frames = look.evaluate(FRAMES)
    assert len({(wide, high) for _, wide, high in frames}) == 1, f"{name}: frames of several sizes: {frames}"
    assert len({left for left, _, _ in frames}) <= 4, f"{name}: frames that are not aligned: {frames}"


def check_map(look, folder):
    """The picture under the pointer is that of the point: its part of the sheet, its class's name."""
    with open(os.path.join(folder, "gallery.json"), encoding="utf-8") as file:
        gallery = json.load(file)
    for kind, member in (("tsne", "tsne"), ("pca", "map")):
        look.evaluate(f"document.querySelector('.as-{kind}').click()")
        visible = look.evaluate("[...document.querySelectorAll('.plane')].map(p => p.checkVisibility())")
        assert visible == [kind == "tsne", kind == "pca"], visible
        point = len(gallery["map"]["label"]) // 2
        at = look.evaluate(f"""(() => {{ const p = document.querySelector('.plane.{kind}'); p.scrollIntoView();
            const r = p.getBoundingClientRect(), at = JSON.parse(document.getElementById('maps').textContent).map0.{kind};
            return [r.left + at[{2 * point}] * r.width / 1000, r.top + at[{2 * point + 1}] * r.width / 1000]; }})()""")
        look.move(*at)
        hidden, text, left, top, crop = look.evaluate("""(() => { const t = document.querySelector('.tip'), c = t.querySelector('.crop'),
            r = c.getBoundingClientRect(), i = t.querySelector('img').getBoundingClientRect();
            return [t.hidden, t.lastChild.textContent, i.left - r.left, i.top - r.top, c.clientWidth]; })()""")
        tiles = gallery["tiles"]
        zoom = crop / tiles["side"]
        here = [i for i in range(len(gallery["map"]["label"]))
                if math.hypot(gallery[member]["x"][i] - gallery[member]["x"][point],
                              gallery[member]["y"][i] - gallery[member]["y"][point]) < 1e-9] # others of the same place
        right = [(-(i % tiles["columns"]) * tiles["pitch"] * zoom, -(i // tiles["columns"]) * tiles["pitch"] * zoom) for i in here]
        assert not hidden and text == gallery["classes"][gallery["map"]["label"][point]], (hidden, text)
        assert any(math.hypot(left - x, top - y) < 0.5 for x, y in right), (left, top, right)
        look.move(1, 1)
        assert look.evaluate("document.querySelector('.tip').hidden"), "the picture stays"
    look.evaluate("document.querySelector('.as-tsne').click()")


def check_the_looks(look):
    """What is planted is found: words that lie on each other, a frame that is not aligned, text that is too pale."""
    def plant(css):
        look.evaluate(f"(() => {{ const s = document.createElement('style'); s.id = 'planted'; s.textContent = '{css}';"
                      "document.body.appendChild(s); })()")
    clear = lambda: look.evaluate("document.getElementById('planted').remove()")
    assert not look.evaluate(OVERLAPS)
    plant(".x.first{transform:translateX(2em)}")
    assert look.evaluate(OVERLAPS), "words that lie on each other"
    clear()
    plant("#std .plot{margin-left:4rem}")
    try:
        check_frames(look, "planted")
    except AssertionError:
        pass
    else:
        raise AssertionError("a frame that is not aligned")
    clear()
    plant(".about{color:#999}")
    assert look.evaluate(browser.READABLE)[0][0] < 4.5, "text that is too pale"
    clear()


def check_age(look, folder):
    """A page of a run that goes on says how old it is, and that there is no news when there should have been some."""
    page = os.path.join(folder, "report.html")
    with open(os.path.join(folder, "metrics.jsonl"), "rb+") as held:
        fcntl.lockf(held, fcntl.LOCK_EX)
        made.report(folder)
    text = made.read(page)
    said = "[document.getElementById('state').textContent, document.getElementById('news').textContent]"
    look.open(page, 1280, 900)
    state, news = look.evaluate(said)
    assert state.startswith("Running") and "s ago" in news, (state, news)
    with open(page, "w", encoding="utf-8") as file:
        file.write(re.sub('data-written="[0-9]+"', f'data-written="{int(time.time()) - 7200}"', text))
    look.open(page, 1280, 900)
    state, news = look.evaluate(said)
    assert state.startswith("No news for 2 h") and "killed" in news, (state, news)
    made.report(folder)
    assert 'http-equiv="refresh"' not in made.read(page)


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
    for width, dark in ((360, False), (360, True), (1200, False), (1200, True)):
        look.open(page, width, 800, dark=dark, mobile=width < 500)
        wide, view = look.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert view == width and wide <= width, f"{name}: {wide} pixels wide at {width}"
        (contrast, whose), (size, small) = look.evaluate(browser.READABLE)
        assert contrast >= 4.5, f"{name}: contrast {contrast:.2f} of {whose} ({'dark' if dark else 'light'})"
        assert size >= 10.5, f"{name}: {size} pixels high: {small}"
        overlaps = look.evaluate(OVERLAPS)
        assert not overlaps, f"{name} at {width}: {overlaps[:5]}"
        check_frames(look, name)
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
        look.open(os.path.join(path("real"), "report.html"), 1280, 900)
        check_map(look, path("real"))
        check_the_looks(look)
        check_age(look, path("other"))
        check_locked(look, os.path.join(path("real"), "report.html"))
        print("screenshots are in", SCREENS)
    finally:
        look.close()
        shutil.rmtree(work)


main()
