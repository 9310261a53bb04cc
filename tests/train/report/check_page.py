# SPDX-License-Identifier: MIT
"""Holds a report page against the metrics.jsonl of its runs: every number in its tables and in the data of its curves is
computed again, from the lines alone. Used by test_report.py on the file, and by the browser's peer on what the browser
made of it."""
import base64
import hashlib
import json
import math
import os
import re
import xml.etree.ElementTree as ElementTree

import colours

COUNTS = ("steps", "epochs", "knn_best_epoch", "full_step", "loss_scale_last", "skipped_last")
HTML = "{http://www.w3.org/1999/xhtml}"
STEP, EPOCH = "step", "epoch"


def read_lines(folder):
    """The usable lines of a run: {"step": [...], "epoch": [...]}, config, and numbers of lines that are none."""
    lines, config, bad = {STEP: [], EPOCH: []}, {}, []
    with open(os.path.join(folder, "metrics.jsonl"), "rb") as file:
        for number, line in enumerate(file.read().split(b"\n")[:-1], 1):
            try:
                item = json.loads(line.decode("utf-8"))
                if item["type"] == "config":
                    config = item
                elif item["type"] in lines:
                    lines[item["type"]].append(item)
            except (ValueError, KeyError, TypeError):
                bad.append(number)
    return lines, config, bad


def parse(text):
    """The page as a tree: it is XML too, so a strict parser takes all of it or none."""
    return ElementTree.fromstring(re.sub(r"^<!DOCTYPE html>\n", "", text))


def words(element):
    return "".join(element.itertext())


def finite(lines, name):
    return [item[name] for item in lines if isinstance(item.get(name), (int, float))]


def expected_numbers(lines):
    """What each row of the final numbers has to say; None: no such row."""
    steps, epochs = lines[STEP], lines[EPOCH]
    last = lambda items, name: (finite(items, name) or [None])[-1]
    mean = lambda items, name: (lambda v: math.fsum(v) / len(v) if v else None)(finite(items, name))
    knn = [(item["knn_top1"], -item["epoch"]) for item in epochs if isinstance(item.get("knn_top1"), (int, float))]
    full = [item["step"] for item in steps if isinstance(item.get("queue_fill"), (int, float)) and item["queue_fill"] >= 1]
    seconds = finite(epochs, "seconds")
    untrained = [item["knn_top1"] for item in epochs if item["epoch"] == 0 and item.get("knn_top1") is not None]
    rows = {
        "steps": steps[-1]["step"] if steps else 0,
        "epochs": epochs[-1]["epoch"] if epochs else 0,
        "knn_last": last(epochs, "knn_top1"),
        "knn_best": max(knn)[0] if knn else None,
        "knn_best_epoch": -max(knn)[1] if knn else None,
        "knn_untrained": untrained[0] if untrained else None,
        "loss_epoch": last(epochs, "loss"),
        "full_step": full[0] if full else None,
        "img_per_s_mean": mean(steps, "img_per_s"),
        "data_wait_mean": mean(steps, "data_wait"),
        "seconds_total": math.fsum(seconds) if seconds else None,
    }
    for row, name in (("loss", "loss"), ("chance", "chance_loss"), ("acc1", "acc1"), ("acc5", "acc5"), ("lr", "lr"),
                      ("pos_cosine", "pos_cosine"), ("neg_cosine", "neg_cosine"), ("feature_std", "feature_std"),
                      ("grad_norm", "grad_norm"), ("loss_scale", "loss_scale"), ("skipped", "skipped")):
        rows[row + "_last"] = last(steps, name)
    return rows


def close(a, b, relative=2e-9):
    return abs(a - b) <= relative * max(abs(a), abs(b)) + 1e-300


UNITS = {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "d": 86400}


def check_shown(element, scale=1):
    """What people read is the value, rounded where its last digit is, with no more than four digits that are not 0."""
    value, text = float(element.get("value")) * scale, words(element)
    if re.search("[a-df-z]", text): # a time
        pieces = re.findall(r"([\d.]+) (\w+)", text)
        last, unit = pieces[-1]
        shown = math.fsum(float(n) * UNITS[u] for n, u in pieces)
        assert abs(shown - value) <= 1.0001 * UNITS[unit] * 10.0 ** -len(last.partition(".")[2]), f"{value} is shown as {text}"
        return
    digits = re.sub(r"[,%]", "", text)
    whole = element.get("class") in COUNTS
    assert whole or len(re.sub(r"e.*|[-.]", "", digits).strip("0")) <= 4, f"{text} has digits that nobody knows"
    shown = float(digits)
    mantissa, _, exponent = digits.partition("e")
    unit = 10.0 ** (int(exponent or 0) - (len(mantissa.partition(".")[2])))
    if len(digits) > 3 and not whole and digits.isdigit(): # 12,300: three digits are known
        unit = 10.0 ** (len(digits) - 3)
    assert abs(shown - value) <= 0.5001 * unit + 1e-12 * abs(value), f"{value} is shown as {text}"


INTERVALS = ("knn_last", "knn_best", "knn_untrained")


def wilson(percent, n):
    """The interval of 95 %, by solving (p - x)^2 = z^2 x (1 - x) / n for x."""
    p, z2 = percent / 100, 1.959963984540054 ** 2
    a, b, c = 1 + z2 / n, -(2 * p + z2 / n), p * p
    root = math.sqrt(max(b * b - 4 * a * c, 0))
    return [100 * (-b + sign * root) / (2 * a) for sign in (-1, 1)]


def check_interval(cell, percent, n):
    """Behind an accuracy over n images stands where it may lie; n None: nobody knows, or it is none."""
    said = [e for e in cell.iter(HTML + "span") if e.get("class") == "interval"]
    if n is None:
        return
    assert len(said) == 1, f"{words(cell)} has no interval"
    for shown, right in zip(words(said[0]).split("\u2013"), wilson(percent, n)):
        unit = 10.0 ** -len(shown.partition(".")[2])
        assert abs(float(shown) - right) <= 0.5001 * unit, f"{percent} of {n} lies in {wilson(percent, n)}, not {shown}"


def check_state(tree, runs, config, stage):
    """stage: running, finished or stopped. A page that nobody draws again does not read itself again."""
    state = next(e for e in tree.iter(HTML + "p") if e.get("id") == "state")
    again = [e for e in tree.iter(HTML + "meta") if e.get("http-equiv") == "refresh"]
    assert state.get("class") == "state " + stage, f"{state.get('class')}, not {stage}"
    assert words(state).lower().startswith(stage)
    assert len(again) == (stage == "running"), f"{len(again)} times it reads itself again, and it is {stage}"
    steps = runs[0][STEP][-1]["step"] if runs[0][STEP] else 0
    assert f"{steps:,}" in words(state)
    if stage != "finished":
        asked = config.get("steps") or config["steps_per_epoch"] * config["epochs"]
        assert f"{steps:,} of {asked:,} steps" in words(state), words(state)


LEAST_DIFFERENCE = 15 # of CIEDE2000, of any two classes' colours; 2.3 is what people just notice, 10 is clear at a glance
LEAST_OF_A_SHAPE = 25 # of two that have the same shape
SHAPES = 5


def check_colours(text):
    """Ten classes can be told apart by colour alone, by who lacks one kind of cones, too; and stand out from the page.
    Returns the least difference of each theme."""
    colours.check_difference()
    least = {}
    for theme, names in colours.palettes(text).items():
        codes = [names[f"k{i}"] for i in range(10)]
        least[theme] = min(colours.nearest(codes, seen)[0] for seen in colours.SEEN)
        assert least[theme] >= LEAST_DIFFERENCE, f"{theme}: {[(s, colours.nearest(codes, s)) for s in colours.SEEN]}"
        for i in range(10 - SHAPES):
            far = min(colours.nearest([codes[i], codes[i + SHAPES]], seen)[0] for seen in colours.SEEN)
            assert far >= LEAST_OF_A_SHAPE, f"{theme}: k{i} and k{i + SHAPES} share a shape and are {far:.1f} apart"
        for name in names:
            need = 3 if re.fullmatch("k[0-9]", name) else 4.5 if re.fullmatch("c[0-6]|ink|soft|right|wrong", name) else 0
            found = colours.contrast(names[name], names["page"])
            assert found >= need, f"{theme}: {name} has a contrast of {found:.2f}, not {need}"
    return least


def check_numbers(tree, runs):
    """runs: lines of each run, in the page's order. Returns how many numbers were compared."""
    compared = 0
    expected = [expected_numbers(lines) for lines in runs]
    images = [([item["knn_queries"] for item in run[EPOCH] if item.get("knn_queries") and item.get("knn_top1") is not None]
               or [None])[-1] for run in runs]
    rows = {row.get("id")[4:]: row for row in tree.iter(HTML + "tr") if (row.get("id") or "").startswith("row-")}
    for name in expected[0]:
        wanted = [run[name] for run in expected]
        if all(value is None for value in wanted):
            assert name not in rows, f"there is a row {name}, and nothing to be said in it"
            continue
        cells = rows[name].findall(HTML + "td")
        assert len(cells) == len(runs), f"row {name} has {len(cells)} cells"
        for cell, value, n in zip(cells, wanted, images):
            data = cell.find(HTML + "data")
            if value is None:
                assert data is None, f"row {name} says {words(cell)}, and there is nothing to be said"
                continue
            assert close(float(data.get("value")), value), f"row {name} says {data.get('value')}, not {value}"
            check_shown(data, 100 if name == "data_wait_mean" else 1)
            check_interval(cell, value, n if name in INTERVALS else None)
            compared += 1
    assert set(rows) <= set(expected[0]), f"rows that no one expects: {set(rows) - set(expected[0])}"
    for tiles in tree.iter(HTML + "dl"):
        for data in tiles.iter(HTML + "data"):
            assert close(float(data.get("value")), expected[0][data.get("class")]), f"tile {data.get('class')}"
            compared += 1
    return compared + check_epochs(tree, runs)


def check_epochs(tree, runs):
    compared = 0
    for table in tree.iter(HTML + "table"):
        if table.get("class") != "epochs":
            continue
        epochs = runs[int(table.get("data-run"))][EPOCH]
        for row in table.find(HTML + "tbody"):
            first, _, last = words(row[0]).partition("\u2013")
            covered = [item for item in epochs if int(first) <= item["epoch"] <= int(last or first)]
            for cell, name in zip(row[1:], ("loss", "knn_top1", "seconds")):
                values, data = finite(covered, name), cell.find(HTML + "data")
                assert (data is None) == (not values), f"epoch {first}: {name}"
                if values and len(covered) == 1:
                    assert close(float(data.get("value")), values[0]), f"epoch {first}: {name}"
                    check_shown(data)
                    compared += 1
    return compared


def check_curves(tree, runs):
    """Every bucket of every curve, from the lines; and that each curve is drawn with as many points."""
    compared = 0
    data = json.loads(words(next(e for e in tree.iter(HTML + "script") if e.get("id") == "data")))
    figures = {figure.get("id"): figure for figure in tree.iter(HTML + "figure")}
    for chart, content in data.items():
        lines = [p for p in figures[chart].iter() if (p.get("class") or "").startswith("line ")]
        assert len(lines) == len(content["curves"]), f"{chart} draws {len(lines)} curves of {len(content['curves'])}"
        for path, curve in zip(lines, content["curves"]):
            items = runs[curve["run"]][curve["kind"]]
            values = {item[curve["kind"]]: item[curve["metric"]] for item in items
                      if isinstance(item.get(curve["metric"]), (int, float))}
            width, offset = curve["width"], 1 if curve["kind"] == STEP else 0
            buckets = {}
            for key, value in values.items():
                buckets.setdefault((key - offset) // width, []).append((key, value))
            assert len(buckets) == len(curve["mean"]) <= 400, f"{chart}: {len(buckets)} buckets"
            for i, index in enumerate(sorted(buckets)):
                keys, of_bucket = zip(*buckets[index])
                assert curve["first"][i] == min(keys), f"{chart}: bucket {i} begins at {curve['first'][i]}"
                assert close(curve["mean"][i], math.fsum(of_bucket) / len(of_bucket)), f"{chart}: mean of {keys}"
                if width == 1:
                    assert curve["mean"][i] == of_bucket[0]
                else:
                    assert curve["last"][i] == max(keys)
                    assert curve["min"][i] == min(of_bucket) and curve["max"][i] == max(of_bucket)
                compared += len(of_bucket)
            points = len(re.findall(r"[ML]", path.get("d")))
            assert points == len(buckets), f"{chart}: {points} points are drawn of {len(buckets)}"
    return compared, data


def check_alone(text):
    """Nothing is fetched, no script runs but ours, and every picture is in the page."""
    bare = text.replace("http://www.w3.org/1999/xhtml", "")
    assert "://" not in bare and "@import" not in bare and "url(" not in bare, "the page names something outside"
    for source in re.findall(r'\s(?:src|href|srcset|action)\s*=\s*"([^"]*)"', bare):
        assert source.startswith(("data:", "#")), f"the page fetches {source[:60]}"
    tree = parse(text)
    scripts = [e for e in tree.iter(HTML + "script") if e.get("type") is None]
    assert len(scripts) == 1, f"{len(scripts)} scripts run"
    raw = re.search(r"<script>(.*?)</script>", text, re.S).group(1)
    right = base64.b64encode(hashlib.sha256(raw.encode()).digest()).decode()
    assert f"script-src 'sha256-{right}'" in text, f"report_js_hash has to be {right}"
    for element in tree.iter():
        assert not any(name.lower().startswith("on") for name in element.attrib), f"a handler in {element.tag}"
    for picture in list(tree.iter(HTML + "svg")) + list(tree.iter(HTML + "img")):
        spoken = picture.get("aria-labelledby") or picture.get("alt")
        assert spoken, "a picture has nothing to be read aloud"
    identifiers = [e.get("id") for e in tree.iter() if e.get("id")]
    assert len(identifiers) == len(set(identifiers)), "two elements share an id"
    for svg in tree.iter(HTML + "svg"):
        for name in svg.get("aria-labelledby").split():
            assert name in identifiers, f"{name} is not there"
    return tree


def check_places(marks, plane, labels):
    """Each point lies where the gallery has it, but for one scale and one shift, with the mark of its class."""
    drawn = {}
    for path in marks:
        number = int(re.search(r"\bm(\d+)", path.get("class")).group(1))
        assert path.get("class").split()[-2] == f"k{number % 10}", path.get("class")
        drawn.setdefault(number, []).extend((float(x), float(y)) for x, y in re.findall(r"M(\S+) ([-\d.]+)m", path.get("d")))
    wanted = {}
    for x, y, label in zip(plane["x"], plane["y"], labels):
        wanted.setdefault(int(label) % 20 if label >= 0 else 0, []).append((x, y))
    pairs = [(a, b) for number in wanted for a, b in zip(drawn[number], wanted[number])]
    assert len(pairs) == len(labels) and drawn.keys() == wanted.keys()
    span = max(max(b[k] for _, b in pairs) - min(b[k] for _, b in pairs) for k in (0, 1)) or 1
    scale = 1000 / (1.06 * span)
    for axis, sign in ((0, 1), (1, -1)):
        shift = pairs[0][0][axis] - sign * scale * pairs[0][1][axis]
        for at, real in pairs:
            assert abs(at[axis] - (sign * scale * real[axis] + shift)) < 1, "a point lies elsewhere"


def check_gallery(tree, folders):
    """The map, the spectrum and the sheets say what gallery.json says. Returns how many pictures are on the page."""
    pictures = [picture.get("src") for picture in tree.iter(HTML + "img")]
    expected, galleries = [], []
    for run, folder in enumerate(folders):
        path = os.path.join(folder, "gallery.json")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                galleries.append((run, json.load(file)))
    for run, gallery in galleries:
        figure = next(e for e in tree.iter(HTML + "figure") if e.get("id") == f"map{run}")
        for kind, member in (("pca", "map"), ("tsne", "tsne")):
            plane = next(e for e in figure.iter(HTML + "div") if e.get("class") == "plane " + kind)
            marks = [p for p in plane.iter() if (p.get("class") or "").startswith("point ")]
            points = sum(p.get("d").count("M") for p in marks)
            assert points == len(gallery[member]["x"]) == len(gallery["map"]["label"]) > 0, f"{points} points on the map"
            check_places(marks, gallery[member], gallery["map"]["label"])
        trusts = [float(e.get("value")) for e in figure.iter(HTML + "data") if e.get("class") == "trust"]
        assert trusts == [gallery[m]["trust"] for m in ("tsne", "map") if gallery[m]["trust"] is not None], trusts
        expected.append(gallery["tiles"]["jpeg"])
        expected += [p["jpeg"] for row in gallery["neighbours"] for p in row]
        verdicts = [p["label"] == row[0]["label"] for row in gallery["neighbours"] for p in row[1:] if p["label"] is not None]
        text = words(tree)
        if verdicts:
            assert f"{sum(verdicts)} of {len(verdicts)} are of the query's class" in text
        assert f"{gallery['effective_rank']:.0f} of {len(gallery['spectrum'])}" in text
    shown = sum(len(row) for _, gallery in galleries for row in gallery["views"])
    expected_all = expected + [jpeg for _, gallery in galleries for row in gallery["views"] for jpeg in row]
    assert sorted(pictures) == sorted("data:image/jpeg;base64," + jpeg for jpeg in expected_all), "other pictures"
    right = [e for e in tree.iter(HTML + "li") if e.get("class") == "right"]
    wrong = [e for e in tree.iter(HTML + "li") if e.get("class") == "wrong"]
    judged = [p["label"] == row[0]["label"] for _, g in galleries for row in g["neighbours"] for p in row[1:]
              if p["label"] is not None and row[0]["label"] is not None]
    assert (len(right), len(wrong)) == (sum(judged), len(judged) - sum(judged)), "right and wrong"
    if galleries:
        lines = [e for e in tree.iter(HTML + "figure") if e.get("id") == "spectrum"][0]
        drawn = [p.get("d") for p in lines.iter() if (p.get("class") or "").startswith("line ")]
        assert len(drawn) == len(galleries) and all(len(re.findall("[ML]", d)) > 1 for d in drawn), "spectrum"
    return len(pictures) if shown else 0
