# SPDX-License-Identifier: MIT
"""The report, CSV and event files as files, without a browser: test_report.sh runs it. Runs are made up here, lines and all."""
import base64
import csv
import fcntl
import glob
import json
import math
import os
import random
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import check_page  # noqa: E402
import read_events  # noqa: E402

BUILD = os.environ.get("BUILD", "build")
REPORT = os.path.join(BUILD, "examples", "report")


def make_run(folder, steps, per_epoch, seed=0, queue=4096, batch=512, knn_every=1, config=None, fp16=False):
    os.makedirs(folder)
    rng = random.Random(seed)
    number = lambda value, digits=9: float(f"%.{digits}g" % value)
    with open(os.path.join(folder, "metrics.jsonl"), "w", encoding="utf-8") as file:
        options = {"type": "config", "preset": "cifar10", "arch": "resnet18", "width": 0.25, "moco-k": queue,
                   "moco-dim": 128, "batch-size": batch, "epochs": max(1, steps // per_epoch), "steps_per_epoch": per_epoch, "seed": seed,
                   "data": "/data/cifar", "schedule": ""}
        options.update(config or {})
        file.write(json.dumps(options, ensure_ascii=False) + "\n")
        for step in range(steps + 1):
            if step > 0:
                item = {"type": "step", "epoch": (step - 1) // per_epoch + 1, "step": step,
                        "loss": number(8 / (1 + step / steps) + rng.gauss(0, 0.1)), "chance_loss": number(math.log(queue + 1)),
                        "acc1": number(rng.uniform(0, 40), 6), "acc5": number(rng.uniform(40, 60), 6),
                        "lr": number(0.06 * (1 - step / steps)), "pos_cosine": number(rng.uniform(0, 1), 6),
                        "neg_cosine": number(rng.uniform(-0.1, 0.1), 6), "feature_std": number(rng.uniform(0, 0.09), 6),
                        "grad_norm": number(rng.expovariate(1), 6), "queue_fill": number(min(1, step * batch / queue), 6),
                        "img_per_s": number(rng.uniform(300, 500), 6), "data_wait": number(rng.random() ** 8, 4)}
                if step % 97 == 13:
                    item["grad_norm"] = None # not finite
                if fp16: # the scale is that of the step, the number that after it
                    item.update(loss_scale=65536 / 2 ** ((step - 1) // 20), skipped=step // 20)
                file.write(json.dumps(item) + "\n")
            if step % per_epoch == 0:
                epoch = step // per_epoch
                watched = epoch % knn_every == 0
                file.write(json.dumps({"type": "epoch", "epoch": epoch, "step": step,
                                       "loss": number(5 + rng.random()) if epoch else None,
                                       "knn_top1": number(rng.uniform(30, 60), 6) if watched else None,
                                       "knn_queries": 1000 if watched else None,
                                       "seconds": number(rng.uniform(90, 110), 6)}) + "\n")
    return folder


def report(*arguments, status=0):
    done = subprocess.run([REPORT, *arguments], capture_output=True)
    assert done.returncode == status, f"status {done.returncode}, not {status}: {arguments} {done.stderr!r}"
    return done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")


def read(path):
    with open(path, encoding="utf-8") as file: # strict: no byte of it may be other than UTF-8
        return file.read()


def check(path, folders):
    text = read(path)
    tree = check_page.check_alone(text)
    runs = [check_page.read_lines(folder)[0] for folder in folders]
    numbers = check_page.check_numbers(tree, runs)
    values, data = check_page.check_curves(tree, runs)
    check_page.check_gallery(tree, folders)
    return text, tree, numbers, values, data


def test_one_run(work):
    folder = make_run(os.path.join(work, "run"), 300, 30, knn_every=2)
    out, err = report(folder)
    assert out.strip() == os.path.join(folder, "report.html") and err == ""
    text, tree, numbers, values, data = check(out.strip(), [folder])
    assert numbers > 50 and values > 2500, (numbers, values)
    assert set(data) == {"loss", "knn", "contrast", "cosine", "std", "gradient", "lr", "speed", "wait"}
    assert "ln(K+1) = 8.32" in text and "queue full: step 8" in text
    assert all(curve["width"] == 1 for chart in data.values() for curve in chart["curves"])
    report(folder + "/")
    same = lambda page: [re.sub('data-written="[0-9]*"', "", line) for line in page.split("\n") if ">Written" not in line]
    assert same(read(out.strip())) == same(text), "the same run gives another page"
    assert sorted(os.listdir(folder)) == ["metrics.jsonl", "report.html"], "something was left behind"


def test_fp16(work):
    """Its loss scale and the steps that were skipped: of a run that has them, and of that one alone."""
    half = make_run(os.path.join(work, "half"), 90, 30, fp16=True)
    single = make_run(os.path.join(work, "single"), 90, 30)
    for folders in ([half], [single, half]):
        page = os.path.join(work, "page.html")
        report(*folders, "--out", page)
        text, tree, _, _, data = check(page, folders)
        assert [curve["run"] for curve in data["scale"]["curves"]] == [len(folders) - 1]
        cells = {row.get("id"): check_page.words(row.findall(check_page.HTML + "td")[-1]) for row in
                 tree.iter(check_page.HTML + "tr") if row.get("id") in ("row-loss_scale_last", "row-skipped_last")}
        assert cells == {"row-loss_scale_last": "4,096", "row-skipped_last": "4"}, cells
    report(single)
    assert "scale" not in check(os.path.join(single, "report.html"), [single])[4]
    report("--csv", half)
    with open(os.path.join(half, "metrics.csv"), newline="") as file:
        last = [row for row in csv.DictReader(file) if row["type"] == "step"][-1]
    assert last["loss_scale"] == "4096" and last["skipped"] == "4", last


def test_state(work):
    """Finished and stopped by what was done, running by the lock that a driver holds; time left at the pace so far."""
    def stage_of(folder, wanted):
        report(folder)
        lines, config, _ = check_page.read_lines(folder)
        text = read(os.path.join(folder, "report.html"))
        tree = check_page.check_alone(text)
        check_page.check_state(tree, [lines], config, wanted)
        return text, check_page.words(next(e for e in tree.iter(check_page.HTML + "p") if e.get("id") == "state"))
    done = make_run(os.path.join(work, "done"), 40, 10)
    stage_of(done, "finished")
    part = make_run(os.path.join(work, "part"), 40, 10, config={"epochs": 12})
    _, said = stage_of(part, "stopped")
    seconds = math.fsum(item["seconds"] for item in check_page.read_lines(part)[0]["epoch"])
    assert re.search(r"40 of 120 steps, 4 of 12 epochs in 8 min \d\d s", said), (said, seconds)
    with open(os.path.join(part, "metrics.jsonl"), "rb+") as held:
        fcntl.lockf(held, fcntl.LOCK_EX)
        text, said = stage_of(part, "running")
        minutes, rest = map(int, re.search(r"about (\d+) min (\d+) s left", said).groups())
        assert abs(60 * minutes + rest - 2 * seconds) < 1.5, (said, seconds)
        elsewhere = os.path.join(work, "elsewhere.html")
        report(part, "--out", elsewhere) # which its driver will not draw again
        assert 'http-equiv="refresh"' not in read(elsewhere)
    stage_of(part, "stopped")
    demo = make_run(os.path.join(work, "demo"), 40, 30, config={"epochs": 2, "steps": 40})
    stage_of(demo, "finished") # in the middle of an epoch
    # An epoch that goes on: its steps count too. A resumed run is judged by its pace since.
    cut = make_run(os.path.join(work, "cut"), 15, 10, config={"epochs": 4})
    lines = check_page.read_lines(cut)[0]
    took = math.fsum(item["seconds"] for item in lines["epoch"]) + math.fsum(512 / i["img_per_s"] for i in lines["step"][10:])
    _, said = stage_of(cut, "stopped")
    minutes, rest = map(int, re.search(r"in (\d+) min (\d+) s", said).groups())
    assert abs(60 * minutes + rest - took) < 1, (said, took)
    with open(os.path.join(cut, "metrics.jsonl"), "a") as held:
        held.write('{"type":"resume","epoch":2,"step":15}\n{"type":"step","epoch":2,"step":16,"loss":5,"img_per_s":51.2}\n')
        held.flush()
        fcntl.lockf(held, fcntl.LOCK_EX)
        _, said = stage_of(cut, "running")
    assert "about 4 min 00 s left, resumed 1 time" in said, said # 24 steps of 10 seconds


def test_colours(work):
    folder = make_run(os.path.join(work, "run"), 4, 4)
    report(folder)
    least = check_page.check_colours(read(os.path.join(folder, "report.html")))
    print("least difference of two classes' colours (CIEDE2000, whatever cones are lacking):",
          ", ".join(f"{theme} {far:.1f}" for theme, far in least.items()))


def test_long_run(work):
    """A hundred thousand steps: no larger than twice a run of 800, and every value is in it."""
    small = make_run(os.path.join(work, "small"), 800, 80)
    large = make_run(os.path.join(work, "large"), 100000, 100, knn_every=1) # 1,001 epochs
    report(small)
    report(large)
    sizes = [os.path.getsize(os.path.join(folder, "report.html")) for folder in (small, large)]
    assert sizes[1] < 2 * sizes[0] and sizes[1] < 1000000, sizes
    _, _, _, values, data = check(os.path.join(large, "report.html"), [large])
    assert values == 10 * 100000 - 1031 + 1001, values # 1,031 gradient norms are null
    assert data["loss"]["curves"][0]["width"] == 256


def test_several_runs(work):
    folders = [make_run(os.path.join(work, name, "run"), steps, 40, seed, config={"moco-t": t})
               for seed, (name, steps, t) in enumerate((("a", 120, 0.1), ("b", 80, 0.2), ("c", 130, 0.2)))]
    page = os.path.join(work, "several.html")
    out, _ = report(*folders, "--out", page)
    assert out.strip() == page
    text, tree, numbers, values, data = check(page, folders)
    assert len(data["loss"]["curves"]) == 3 and {"contrast", "contrast2", "cosine", "cosine2"} <= set(data)
    assert all(curve["name"].endswith("/run") for curve in data["loss"]["curves"]), "runs of one name are not told apart"
    differing = [check_page.words(row[0]).split()[0] for row in tree.iter(check_page.HTML + "tr")
                 if row.get("class") == "differs"]
    assert differing == ["epochs", "seed", "moco-t"], differing
    assert "ln(K+1)" in text


def test_hostile_names(work):
    nasty = "<script>alert(1)</script>\"'&amp;]]>\u202e\u0007\u0085\uffff\ud7ff <!-- --> {x}"
    folder = os.fsencode(work) + b"/run <script>alert('x')<\\script>\"'&\xff\xc0\x80\x01 \xe2\x80\xae"
    made = make_run(os.path.join(work, "plain"), 12, 4, config={"data": nasty, "preset": "a\"><img src=x onerror=alert(1)>",
                                                             nasty: nasty, "deep": {"a": [1, {"b": 2}]}})
    os.rename(made, folder)
    other = make_run(os.path.join(work, "other"), 12, 4)
    page = os.path.join(work, "hostile.html")
    out, err = report(os.fsdecode(folder), other, "--out", page)
    text, tree, _, _, data = check(page, [os.fsdecode(folder), other])
    assert "<script>alert" not in text and "<img" not in text and "onerror=alert(1)>" not in text
    assert "\ufffd" in data["loss"]["curves"][0]["name"]
    assert any(nasty.replace("\u0007", "\ufffd").replace("\u0085", "\ufffd").replace("\uffff", "\ufffd") == check_page.words(cell)
               for cell in tree.iter(check_page.HTML + "td")), "a hostile value does not come back as it was"
    report(os.fsdecode(folder))


def draw_pictures(folder, classes=("0", "1", "2")):
    """48 pictures in train, 16 in test, in three class folders each, of the given names."""
    os.makedirs(folder)
    subprocess.run([os.path.join(BUILD, "tests", "train", "tool_draw"), folder, "48", "24"], check=True)
    for part in ("train", "test"):
        for number, name in enumerate(classes):
            old, new = os.path.join(folder, part, str(number)), os.path.join(os.fsencode(folder), part.encode(), os.fsencode(name))
            if os.fsencode(old) != new:
                os.rename(old, new)


def train(data, out, *options):
    subprocess.run([os.path.join(BUILD, "examples", "train_imagenet"), data, "--preset", "demo", "--size", "16",
                    "--batch-size", "16", "--bn-group-size", "8", "--moco-k", "40", "--moco-dim", "16", "--width", "0.125",
                    "--threads", "1", "-p", "1", "--out", out, *options], check=True, capture_output=True)


def embed(encoder, folder):
    out = subprocess.run([os.path.join(BUILD, "examples", "embed"), encoder, folder], check=True, capture_output=True).stdout
    rows = [line.split(b"\t") for line in out.rstrip(b"\n").split(b"\n")]
    return [row[0] for row in rows], [[float(value) for value in row[1:]] for row in rows]


def test_gallery(work):
    """What the gallery calls neighbours are the neighbours: found again from another program's features."""
    data, run = os.path.join(work, "data"), os.path.join(work, "run")
    draw_pictures(data)
    train(data, run, "--epochs", "2", "--eval-recipe", "eval", "--knn-on", "features")
    _, _, numbers, _, _ = check(os.path.join(run, "report.html"), [run])
    with open(os.path.join(run, "gallery.json"), encoding="utf-8") as file:
        gallery = json.load(file)
    assert gallery["epoch"] == 2 and gallery["step"] == 6 and gallery["bank"] == 48 and gallery["of"] == "held-out"
    assert gallery["classes"] == ["0", "1", "2"] and len(gallery["map"]["x"]) == 16
    encoder = os.path.join(run, "encoder.safetensors")
    bank_paths, bank = embed(encoder, os.path.join(data, "train"))
    asked_paths, asked = embed(encoder, os.path.join(data, "test"))
    label_of = lambda path: int(os.path.basename(os.path.dirname(path)))
    assert [len({row[0]["label"] for row in gallery["neighbours"][:3]}), len(gallery["neighbours"])] == [3, 8]
    for query, *found in gallery["neighbours"]:
        feature = asked[query["id"]]
        assert query["label"] == label_of(asked_paths[query["id"]]) and query["cosine"] is None
        cosines = [math.fsum(a * b for a, b in zip(feature, other)) for other in bank]
        best = sorted(cosines, reverse=True)[:5]
        assert len(found) == 5 and len({p["id"] for p in found}) == 5
        for picture, wanted in zip(found, best):
            assert abs(picture["cosine"] - wanted) < 2e-4 and abs(cosines[picture["id"]] - wanted) < 2e-4
            assert picture["label"] == label_of(bank_paths[picture["id"]])
    # The map: the two widest directions. Their part of the variance and that of the spectrum are one thing.
    n = len(gallery["map"]["x"])
    for axis, value, part in zip("xy", gallery["spectrum"], gallery["map"]["part"]):
        along = gallery["map"][axis]
        assert abs(math.fsum(along)) < 1e-3 * max(map(abs, along)) * n
        assert abs(part - value / math.fsum(gallery["spectrum"])) < 1e-3, (part, value)
    check_map(gallery, run)
    assert all(len(row) == 9 for row in gallery["views"]) and len(gallery["views"]) == 6
    # Made again from the folder alone, it is the same.
    before = {name: read(os.path.join(run, name)) for name in ("gallery.json", "report.html")}
    report("--gallery", run)
    assert read(os.path.join(run, "gallery.json")) == before["gallery.json"]
    hurt_gallery(run, before["gallery.json"])


def check_map(gallery, run):
    """t-SNE's map has all points, apart; its pictures have one sheet; a point that is moved on the page is found."""
    n, near, tiles = len(gallery["map"]["x"]), gallery["tsne"], gallery["tiles"]
    assert len(near["x"]) == len(near["y"]) == n and near["perplexity"] == (n - 1) / 3
    assert len(set(zip(near["x"], near["y"]))) == n and abs(math.fsum(near["x"])) < 1e-3 * max(map(abs, near["x"])) * n
    assert gallery["map"]["trust"] is None and near["trust"] is None # too few points to say
    assert (tiles["side"], tiles["pitch"], tiles["columns"]) == (16, 16, n)
    assert base64.b64decode(tiles["jpeg"])[:3] == b"\xff\xd8\xff"
    page = os.path.join(run, "report.html")
    text = read(page)
    moved = re.sub(r'(class="point k0 m0" d="M)[\d.]+', r"\g<1>500.5", text, count=1)
    assert moved != text
    try:
        check_page.check_gallery(check_page.parse(moved), [run])
    except AssertionError:
        return
    raise AssertionError("nobody found a point that was moved")


def hurt_gallery(run, text):
    """A gallery.json that is damaged, or made up by somebody, is left out, or harmless."""
    path, page, rng = os.path.join(run, "gallery.json"), os.path.join(run, "report.html"), random.Random(1)
    refused = 0
    for trial in range(80):
        at, hurt = rng.randrange(len(text)), text
        if trial % 4 == 0:
            hurt = text[:at]
        elif trial % 4 == 1:
            hurt = text[:at] + rng.choice('{}[]",:x0-\\') + text[at + 1:]
        elif trial % 4 == 2:
            name = rng.choice(["map", "x", "label", "neighbours", "views", "classes", "spectrum", "part", "jpeg", "on", "side", "tsne", "tiles", "pitch", "columns"])
            hurt = text.replace(f'"{name}":', f'"{name}":' + rng.choice(["-1,", "1e300,", "[[[]]],", "{},", '"<b>",', "[null],"])
                                + f'"{name}":', 1)
        else:
            hurt = text.replace('"jpeg":"', '"jpeg":"\\"onerror=alert(1) x=\\"', 1) if trial % 8 == 3 else "[" * trial
        with open(path, "w", encoding="utf-8") as file:
            file.write(hurt)
        _, err = report(run)
        refused += "goes without it" in err
        shown = read(page)
        check_page.check_alone(shown)
        assert "onerror" not in shown
    assert refused > 40, refused
    os.remove(path)
    report(run)
    assert "<img" not in read(page)


def test_hostile_classes(work):
    classes = (b"<img src=x onerror=alert(1)>", b"\xff\xfe\"'&amp;\x01", b"]]><script>alert(1)<script>" + b"long" * 40)
    data, run = os.path.join(work, "data"), os.path.join(work, "run")
    draw_pictures(data, classes)
    train(data, run, "--epochs", "1")
    text, tree, _, _, _ = check(os.path.join(run, "report.html"), [run])
    assert "<script>alert" not in text and "<img src=x" not in text
    names = {check_page.words(e) for e in tree.iter(check_page.HTML + "li")}
    assert "<img src=x onerror=alert(1)>" in names and "\ufffd\ufffd\"'&amp;\ufffd" in names, names


def test_gallery_without(work):
    """Nothing held out, and no labels."""
    data, run, flat = (os.path.join(work, name) for name in ("data", "run", "flat"))
    draw_pictures(data)
    train(os.path.join(data, "train"), run, "--epochs", "1")
    with open(os.path.join(run, "gallery.json"), encoding="utf-8") as file:
        gallery = json.load(file)
    assert gallery["of"] == "training" and len(gallery["map"]["x"]) == 48
    assert all(picture["id"] != row[0]["id"] for row in gallery["neighbours"] for picture in row[1:]), "its own neighbour"
    check(os.path.join(run, "report.html"), [run])
    os.makedirs(flat)
    for number, (folder, _, files) in enumerate(os.walk(os.path.join(data, "train"))):
        for file in files:
            os.link(os.path.join(folder, file), os.path.join(flat, f"{number}-{file}"))
    run = os.path.join(work, "unlabelled")
    train(flat, run, "--epochs", "1")
    text, _, _, _, _ = check(os.path.join(run, "report.html"), [run])
    assert "are of the query" not in text


TAGS = {"step": ("train", "loss chance_loss acc1 acc5 lr pos_cosine neg_cosine feature_std grad_norm queue_fill"),
        "speed": ("speed", "img_per_s data_wait"), "epoch": ("epoch", "loss knn_top1 seconds")}


def expected_scalars(lines):
    """{tag: {step: value}} of a run's lines."""
    scalars = {}
    for kind, (prefix, names) in TAGS.items():
        for item in lines["epoch" if kind == "epoch" else "step"]:
            for name in names.split():
                if item[name] is not None:
                    scalars.setdefault(f"{prefix}/{name}", {})[item["step"]] = item[name]
    return scalars


def same_scalar(tag, found, logged):
    """A float of 24 bits against the digits that metrics.jsonl keeps."""
    digits = {"loss": 9, "chance_loss": 9, "lr": 9, "data_wait": 4}.get(tag.split("/")[1], 6)
    return abs(found - logged) <= (6e-8 + 0.51 * 10.0 ** (1 - digits)) * abs(logged) + 1e-40


def test_the_check_itself(work):
    """A page that is wrong in one place is found."""
    folder = make_run(os.path.join(work, "run"), 60, 10)
    report(folder)
    page = os.path.join(folder, "report.html")
    text = read(page)
    def whole():
        text, tree, _, _, _ = check(page, [folder])
        lines, config, _ = check_page.read_lines(folder)
        check_page.check_state(tree, [lines], config, "finished")
        check_page.check_colours(text)
    whole()
    last = check_page.read_lines(folder)[0]["step"][-1]["loss"]
    for what, wrong in (("a number", text.replace(f'value="{last!r}"', f'value="{last + 1e-6!r}"')),
                        ("its rounding", re.sub(r'(class="acc1_last" value="[^"]*">)(\d)', lambda m: m[1] + str((int(m[2]) + 1) % 10), text)),
                        ("a curve's value", text.replace(f"{last!r}]", f"{last + 0.5!r}]", 1)),
                        ("a point that is not drawn", re.sub(r'(data-metric="lr"[^>]*)L[-\d.]+ [-\d.]+', r"\1", text, count=1)),
                        ("an epoch", re.sub(r'(class="epoch_knn" value=")', r"\g<1>1", text, count=1)),
                        ("an interval", re.sub(r'(class="interval">)(\d+)(\.\d)', lambda m: m[1] + str(int(m[2]) + 1) + m[3], text)),
                        ("a page that reads itself again", text.replace("<link rel", '<meta http-equiv="refresh" content="30"/><link rel')),
                        ("a state", text.replace('class="state finished"', 'class="state stopped"')),
                        ("a class's colour that is like another's", re.sub(r"--k5:#\w+", "--k5:#3a3939", re.sub(r"--k2:#\w+", "--k2:#393939", text, count=1), count=1)),
                        ("text that is too pale", re.sub(r"--soft:#\w+", "--soft:#999999", text, count=1)),
                        ("digits that nobody knows", re.sub(r'(class="loss_last" value="(\d\.\d{6})[^>]*>)[^<]*', r"\1\2", text)),
                        ("a row that is missing", re.sub(r'<tr id="row-lr_last">.*?</tr>', "", text, flags=re.S)),
                        ("something fetched", text.replace("<main>", '<main><img alt="x" src="//example/x.png"/>')),
                        ("a script", text.replace("<main>", "<main><script>1</script>")),
                        ("a handler", text.replace("<main>", '<main onclick="1">')),
                        ("another script", text.replace("'use strict'", "'use stricter'")),
                        ("what is no XML", text.replace("</main>", "</main></p>")),
                        ("a bare ampersand", text.replace("<main>", "<main>&"))):
        assert wrong != text, what
        with open(page, "w", encoding="utf-8") as file:
            file.write(wrong)
        try:
            whole()
        except (AssertionError, KeyError, check_page.ElementTree.ParseError):
            continue
        raise AssertionError(f"nobody found {what}")


def test_event_files(work):
    data, run = os.path.join(work, "data"), os.path.join(work, "run")
    draw_pictures(data)
    train(data, run, "--epochs", "4", "--max-steps", "8", "--tensorboard")
    train(data, run, "--resume", "auto", "--max-steps", "0", "--tensorboard")
    first, second = sorted(glob.glob(os.path.join(run, "events.out.tfevents.*")))
    found, starts = {}, []
    for path in (first, second):
        for step, values, start in read_events.events(path):
            if start:
                starts.append(step)
            for tag, value in values.items():
                assert step not in found.setdefault(tag, {}), f"{tag} has two values at step {step}"
                found[tag][step] = value
    assert starts == [9], starts
    wanted = expected_scalars(check_page.read_lines(run)[0])
    assert set(found) == set(wanted) and all(set(found[tag]) == set(wanted[tag]) for tag in wanted)
    assert all(same_scalar(tag, found[tag][step], value) for tag in wanted for step, value in wanted[tag].items())
    assert sum(len(values) for values in found.values()) > 140
    plain = os.path.join(work, "plain")
    train(data, plain, "--epochs", "1")
    assert not glob.glob(os.path.join(plain, "events*"))


def test_csv(work):
    folder = make_run(os.path.join(work, "run"), 50, 10, knn_every=2)
    other = make_run(os.path.join(work, "other"), 3, 3)
    out, _ = report("--csv", folder, other)
    assert out.split() == [os.path.join(f, "metrics.csv") for f in (folder, other)]
    lines = check_page.read_lines(folder)[0]
    with open(os.path.join(folder, "metrics.csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == [str(n) for n in range(51) for _ in range(1 if n % 10 else 1 + (n > 0))]
    for kind in ("step", "epoch"):
        mine = [row for row in rows if row["type"] == kind]
        assert len(mine) == len(lines[kind])
        for row, item in zip(mine, lines[kind]):
            for name, text in row.items():
                wanted = item.get(name)
                assert text == ("" if wanted is None else wanted) or float(text) == wanted, (name, text, wanted)
    assert sorted(os.listdir(folder)) == ["metrics.csv", "metrics.jsonl"]


def test_broken_lines(work):
    folder = make_run(os.path.join(work, "run"), 40, 10)
    path = os.path.join(folder, "metrics.jsonl")
    with open(path, "rb") as file:
        lines = file.read().split(b"\n")
    lines[5] = lines[5][:40]                                        # line 6: cut
    lines[8] = b"\xff\xfe\x00 not JSON"                             # line 9
    lines[11] = lines[11].replace(b'"loss":', b'"loss":"x","was":') # line 12: not a number
    lines[14] = lines[10]                                           # line 15: a step again
    lines[17] = b"[1,2,3]"                                          # line 18
    lines[20] = b"{" * 70000                                        # line 21: too long
    lines[23] = b'{"type":"surprise","step":"no"}'                  # of a later version: nothing is wrong with it
    with open(path, "wb") as file:
        file.write(b"\n".join(lines[:-1]) + b'\n{"type":"step","epoch":5,"st')
    _, err = report(folder)
    for number in (6, 9, 12, 15, 18, 21, len(lines)):
        assert f"metrics.jsonl, line {number}:" in err, (number, err)
    assert err.count("left out") == 7, err
    text = read(os.path.join(folder, "report.html"))
    check_page.check_alone(text)
    assert "7 lines left out" in text and "line 21: longer than" in text
    many = make_run(os.path.join(work, "many"), 4, 4)
    with open(os.path.join(many, "metrics.jsonl"), "ab") as file:
        file.write(b"x\n" * 100000)
    _, err = report(many)
    assert "99980 more lines" in err and len(err) < 10000


def test_little_to_show(work):
    for name, content in (("empty", b""), ("config", b'{"type":"config","seed":1}\n'), ("blank", b"\n\n"),
                          ("huge", b'{"type":"step","step":9007199254740992,"loss":1e308}\n'
                                   b'{"type":"epoch","epoch":9007199254740991,"step":9007199254740992,"loss":-1e308}\n'),
                          ("nulls", b'{"type":"step","step":1,"loss":null}\n{"type":"epoch","epoch":0,"step":0}\n')):
        folder = os.path.join(work, name)
        os.makedirs(folder)
        with open(os.path.join(folder, "metrics.jsonl"), "wb") as file:
            file.write(content)
        report(folder)
        check_page.check_alone(read(os.path.join(folder, "report.html")))


def test_wrong_use(work):
    folder = make_run(os.path.join(work, "run"), 4, 4)
    assert "which run" in report(status=2)[1]
    assert "--wrong" in report("--wrong", status=2)[1]
    assert "--out" in report(folder, "--out", status=2)[1]
    assert "nowhere" in report(os.path.join(work, "nowhere"), status=1)[1]
    assert "16" in report(*[folder] * 17, status=2)[1]
    assert "no/such" in report(folder, "--out", os.path.join(work, "no/such/page.html"), status=1)[1]
    assert "Usage" in report("--help")[0]


def main():
    for name, test in sorted(globals().items()):
        if name.startswith("test_"):
            with tempfile.TemporaryDirectory() as work:
                test(work)
            print("ok", name)


if __name__ == "__main__":
    main()
