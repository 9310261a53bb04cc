#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""libmoco's pixels against Pillow and torchvision, given the same parameters.

usage: test_pillow.py TOOL [--images N] [--draws N]
       test_pillow.py --fixtures > tests/golden/view_fixtures.h
Decodes drawn pictures of every kind and a sample of real JPEGs, applies random parameters with both, and wants no value
to differ, whatever the instruction set; the tool is tests/golden/tool_view.c. The fixtures are checksums of Pillow's
views of pictures that tests/support/draw_image.c draws too, for machines without Pillow.
"""
import argparse
import io
import os
import random
import sys
import tarfile
import tempfile
import zlib

import numpy as np
from PIL import Image, ImageCms, ImageFilter
import torchvision
import torchvision.transforms.functional as F
from torchvision.transforms import InterpolationMode

from view_tool import Tool


def reference_view(image, size, p):
    x, y, w, h = p["box"]
    mode = InterpolationMode.BICUBIC if p["interpolation"] else InterpolationMode.BILINEAR
    out = F.resize(F.crop(image, y, x, h, w), (p["resized"][1], p["resized"][0]), mode)
    out = F.crop(out, p["offset"][1], p["offset"][0], size, size)
    if p["grey"] and p["grey_first"]:
        out = F.rgb_to_grayscale(out, 3)
    ops = [F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue]
    for op in p["order"]:
        if p["jitter"] and not p["skip"][op]:
            out = ops[op](out, p["factor"][op])
    if p["grey"] and not p["grey_first"]:
        out = F.rgb_to_grayscale(out, 3)
    if p["sigma"] > 0:
        out = out.filter(ImageFilter.GaussianBlur(radius=p["sigma"]))
    return np.asarray(F.hflip(out) if p["flip"] else out)


def draw(rng, w, h, size):
    """Wider than any recipe: enlargements, strips, strong jitter and blur, skipped ops."""
    cw, ch = rng.randint(1, w), rng.randint(1, h)
    if rng.random() < 0.1:
        cw, ch = min(w, size), min(h, size)
    strength, order = rng.choice([0.4, 0.4, 0.8, 1.5]), rng.sample(range(4), 4)
    hue = rng.choice([0.1, 0.4, 0.5])
    factor = [rng.uniform(max(0, 1 - strength), 1 + strength) for _ in range(3)] + [rng.uniform(-hue, hue)]
    if rng.random() < 0.05:
        factor = [rng.choice([0.0, 1.0]) for _ in range(3)] + [0.5]
    return dict(box=(rng.randint(0, w - cw), rng.randint(0, h - ch), cw, ch), resized=(size, size), offset=(0, 0),
                jitter=int(rng.random() < 0.9), order=order, factor=factor,
                skip=[int(rng.random() < 0.1) for _ in range(4)], grey=int(rng.random() < 0.2),
                grey_first=rng.randint(0, 1), sigma=rng.choice([0, rng.uniform(0.1, 2.0), rng.uniform(0.1, 2.0),
                                                               rng.uniform(2, 12)]), flip=rng.randint(0, 1),
                interpolation=rng.randint(0, 1))


def eval_params(w, h, size, resize, interpolation=0):
    rw, rh = (resize, int(resize * h / w)) if w <= h else (int(resize * w / h), resize)
    return dict(box=(0, 0, w, h), resized=(rw, rh), offset=(int(round((rw - size) / 2.0)), int(round((rh - size) / 2.0))),
                jitter=0, order=[0, 1, 2, 3], factor=[1.0] * 4, skip=[1] * 4, grey=0, grey_first=0, sigma=0, flip=0,
                interpolation=interpolation)


def picture(rng, w, h):
    """Waves and noise in every channel: smooth and sharp parts, all hues."""
    y, x = np.mgrid[0:h, 0:w].astype(np.float64)
    planes = []
    for _ in range(3):
        a, b, c = rng.uniform(-0.2, 0.2), rng.uniform(-0.2, 0.2), rng.uniform(0, 6.3)
        planes.append(127.5 + 120 * np.sin(a * x + b * y + c) * np.cos(b * x - a * y))
    noise = np.random.RandomState(rng.randint(0, 2**31)).normal(0, rng.choice([0, 3, 30]), (h, w, 3))
    return np.clip(np.stack(planes, -1) + noise, 0, 255).astype(np.uint8)


def as_ycck(content):
    """The same samples called YCCK by Adobe's marker."""
    content[content.index(b"Adobe") + 11] = 2
    return content


def without_scans(content):
    """The first three scans: libjpeg smooths the blocks that lack the others."""
    scans = [at for at in range(len(content)) if content[at:at + 2] == b"\xff\xda"]
    return content[:content.index(b"\xff\xc4", scans[2])] + b"\xff\xd9"


def drawn_files(rng, folder, webp):
    """(path, comparable with Pillow) of one picture of each kind."""
    def save(name, image, **options):
        path = os.path.join(folder, name)
        image.save(path, **options)
        files.append(path)

    def change(name, changed, how):
        with open(os.path.join(folder, name), "rb") as stored:
            content = how(bytearray(stored.read()))
        files.append(os.path.join(folder, changed))
        with open(files[-1], "wb") as out:
            out.write(content)

    files = []
    base = Image.fromarray(picture(rng, 301, 203))
    for quality in (30, 75, 95):
        for subsampling in (0, 1, 2):
            save(f"q{quality}s{subsampling}.jpg", base, quality=quality, subsampling=subsampling)
    for subsampling in (0, 1, 2):
        save(f"progressive{subsampling}.jpg", base, progressive=True, quality=80, subsampling=subsampling)
        change(f"progressive{subsampling}.jpg", f"missing{subsampling}.jpg", without_scans)
    for name, options in (("", {}), ("-progressive", {"progressive": True})):
        save(f"grey{name}.jpg", base.convert("L"), **options)
        save(f"cmyk{name}.jpg", base.convert("CMYK"), **options)
        change(f"cmyk{name}.jpg", f"ycck{name}.jpg", as_ycck)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, which nobody here does
    save("exif.jpg", base, exif=exif)
    save("one.jpg", base.resize((1, 1)))
    save("strip.jpg", base.resize((700, 1)))
    save("wide.png", base.resize((6000, 5)))
    save("tall.png", base.resize((3, 5000)))
    for mode in ("RGB", "RGBA", "L", "LA", "P", "1"):
        save(f"{mode}.png", base.convert(mode))
    save("alpha.png", Image.merge("RGBA", (*base.split(), base.convert("L"))))
    for bits in (1, 2, 4):
        save(f"palette{bits}.png", base.quantize(2**bits), bits=bits)
    save("transparent.png", base.quantize(16), transparency=3)
    save("colourkey.png", base, transparency=base.getpixel((0, 0)))
    save("png-in.jpg", base, format="PNG")
    if webp:
        webp_files(base, exif, save)
    return files


def webp_files(base, exif, save):
    alpha = Image.merge("RGBA", (*base.split(), base.convert("L")))
    for quality in (5, 75, 100):
        save(f"q{quality}.webp", base, quality=quality)
        save(f"alpha{quality}.webp", alpha, quality=quality)
    for name, image in (("rgb", base), ("rgba", alpha), ("grey", base.convert("L"))):
        save(f"lossless-{name}.webp", image, lossless=True, exact=True)
    save("lossless-palette.webp", base.quantize(7).convert("RGB"), lossless=True)
    save("exif.webp", base, exif=exif)
    save("profile.webp", base, icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB", 5000)).tobytes())
    for w, h in ((1, 1), (2, 1), (1, 2), (17, 33), (700, 1), (3, 5000), (6000, 5)):
        save(f"{w}x{h}.webp", base.resize((w, h)))
        save(f"lossless-{w}x{h}.webp", base.resize((w, h)), lossless=True)
    save("animated.webp", base, save_all=True, append_images=[base.rotate(180)], quality=60)
    save("animated-alpha.webp", alpha, save_all=True, append_images=[alpha.rotate(180)], lossless=True, exact=True)
    save("webp-in.jpg", base, format="WEBP")


def reads_webp(tool, folder):
    """Unless the library was built without libwebp."""
    path = os.path.join(folder, "probe.webp")
    Image.new("RGB", (1, 1)).save(path)
    answer = tool.decode(path)
    if isinstance(answer, str):
        print(f"not tested here: WebP ({answer})")
    return not isinstance(answer, str)


def sample_jpegs(folder, count):
    archive = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../shared/data/imagenet-sample-200.tar")
    if not os.path.exists(archive):
        print("SKIPPED: ../shared/data/imagenet-sample-200.tar is not there: drawn pictures only")
        return []
    files = []
    with tarfile.open(archive) as tar:
        members = [m for m in tar.getmembers() if m.isfile() and m.name.lower().endswith((".jpg", ".jpeg"))]
        step = max(1, len(members) // count) if count else 1
        for member in members[::step][:count or None]:
            path = os.path.join(folder, os.path.basename(member.name))
            with open(path, "wb") as out:
                out.write(tar.extractfile(member).read())
            files.append(path)
    return files


def compare(what, ours, theirs):
    if isinstance(ours, str):
        print(f"{what}: {ours}")
        return 1
    if ours.shape != theirs.shape:
        print(f"{what}: shape {ours.shape}, Pillow {theirs.shape}")
        return 1
    difference = np.abs(ours.astype(int) - theirs.astype(int))
    if difference.any():
        print(f"{what}: {np.count_nonzero(difference)} of {difference.size} values differ, by up to {difference.max()}")
        return 1
    return 0


def check_colours(tool, folder, step):
    """Each pair of byte values with a stepped third; step 1 is every colour there is."""
    third = np.arange(0, 256, step, dtype=np.uint8)
    grid = np.stack(np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8), third, indexing="ij"), -1)
    bad = 0
    path = os.path.join(folder, "colours.png")
    for rolled in range(3 if step > 1 else 1):
        pixels = np.roll(grid.reshape(-1, 3), rolled, axis=1)
        side = 1024
        pixels = np.resize(pixels, (-(-len(pixels) // (side * side)) * side * side, 3)).reshape(-1, side, side, 3)
        for number, square in enumerate(pixels):
            image = Image.fromarray(square)
            image.save(path, compress_level=0)
            tool.decode(path)
            for op, factor in ((3, 0.0), (3, 0.37), (3, -0.21), (2, 0.63), (1, 1.31), (0, 1.17)):
                p = eval_params(side, side, side, side)
                p["resized"], p["offset"], p["jitter"] = (side, side), (0, 0), 1
                p["skip"][op], p["factor"][op] = 0, factor
                level = tool.levels[(number + op + rolled) % len(tool.levels)]
                bad += compare(f"op {op} by {factor} on {level}", tool.view(level, side, p), reference_view(image, side, p))
    return bad


def draw_pixels(w, h, seed):
    """draw_pixels of tests/support/draw_image.c."""
    y, x, c = np.meshgrid(np.arange(h), np.arange(w), np.arange(3), indexing="ij")
    fold = (x * x * (c + 1) + y * y * (3 - c) + x * y * (seed % 5 + 1)) // 64 + seed * 37 + c * 85 & 511
    edge = np.where(((x // 16 + y // 16 + c) & 3) == 0, 60, 0)
    return np.minimum(np.where(fold < 256, fold, 511 - fold) + edge, 255).astype(np.uint8)


def fixtures():
    rng = random.Random(7)
    print(f"""/* SPDX-License-Identifier: MIT
 *
 * view_fixtures: what Pillow {Image.__version__} and torchvision {torchvision.__version__} make of drawn pictures, as CRC-32 of the bytes.
 * Written by tests/golden/test_pillow.py --fixtures. */
static const struct view_fixture {{
    int w, h, seed, size;
    struct augment_params params;
    uint32_t crc;
}} view_fixtures[] = {{""")
    for number in range(90):
        w, h, seed = rng.randint(20, 300), rng.randint(20, 300), rng.randint(0, 99)
        size = rng.choice([32, 33, 64, 96, 224])
        p = draw(rng, w, h, size) if number % 6 else eval_params(w, h, size, (size * 256 + 112) // 224, number // 6 % 2)
        crc = zlib.crc32(reference_view(Image.fromarray(draw_pixels(w, h, seed)), size, p).tobytes())
        lists = {name: "{" + ", ".join(map(repr, p[name])) + "}" for name in ("order", "factor", "skip")}
        print(f"    {{{w}, {h}, {seed}, {size}, {{{', '.join(map(str, (*p['box'], *p['resized'], *p['offset'], p['jitter'])))},"
              f" {lists['order']}, {lists['factor']}, {lists['skip']}, {p['grey']}, {p['grey_first']}, {p['sigma']!r},"
              f" {p['flip']}, {p['interpolation']}}}, 0x{crc:08x}}},")
    print("};")


def main():
    if sys.argv[1:] == ["--fixtures"]:
        return fixtures()
    parser = argparse.ArgumentParser()
    parser.add_argument("tool")
    parser.add_argument("--images", type=int, default=12, help="real JPEGs; 0: all")
    parser.add_argument("--draws", type=int, default=6, help="parameter sets per picture")
    parser.add_argument("--colour-step", type=int, default=15, help="1: every colour there is")
    args = parser.parse_args()
    tool, rng, bad, views = Tool(args.tool), random.Random(1), 0, 0
    print(f"Pillow {Image.__version__}, torchvision {torchvision.__version__}, levels {' '.join(tool.levels)}")
    with tempfile.TemporaryDirectory() as folder:
        files = drawn_files(rng, folder, reads_webp(tool, folder)) + sample_jpegs(folder, args.images)
        for path in files:
            name = os.path.basename(path)
            image = Image.open(path).convert("RGB")
            bad += compare(f"decode {name}", tool.decode(path), np.asarray(image))
            w, h = image.size
            cases = []
            for draw_number in range(args.draws + 1):
                size = rng.choice([224, 224, 96, 32, 33])
                p = draw(rng, w, h, size) if draw_number else eval_params(w, h, size, (size * 256 + 112) // 224,
                                                                               rng.randint(0, 1))
                theirs = reference_view(image, size, p)
                for level in tool.levels:
                    bad += compare(f"view {name} {level} {size} {p}", tool.view(level, size, p), theirs)
                    views += 1
                cases.append((size, p, theirs))
            for size, p, theirs in cases:  # the same from no more than the crop of the file
                answer = tool.part(path, p["box"])
                if answer != f"{w} {h}":
                    print(f"part {p['box']} of {name}: {answer}")
                    bad += 1
                    continue
                bad += compare(f"view of a part of {name} {size} {p}", tool.view(tool.levels[-1], size, p), theirs)
                views += 1
        bad += check_colours(tool, folder, args.colour_step)
    print(f"{len(files)} pictures, {views} views, {bad} differ")
    sys.exit(bad != 0)


if __name__ == "__main__":
    main()
