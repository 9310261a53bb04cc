# SPDX-License-Identifier: MIT
"""How far apart two colours are for people: CIEDE2000 (Sharma, Wu and Dalal, 2005), as seen with all three kinds of cones
and without one of them (Machado, Oliveira and Fernandes, 2009, severity 1). By itself it prints how far the colours of
a report are: python3 colours.py REPORT.html"""
import itertools
import math
import re
import sys

SEEN = { # from linear RGB to linear RGB
    "all cones": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}
TO_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))


def times(matrix, v):
    return [sum(a * b for a, b in zip(row, v)) for row in matrix]


def linear(code):
    """"#rrggbb" or "#rgb" as linear RGB."""
    digits = code[1:] if len(code) == 7 else "".join(c * 2 for c in code[1:])
    parts = [int(digits[i:i + 2], 16) / 255 for i in (0, 2, 4)]
    return [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]


def lab(rgb):
    white = [sum(row) for row in TO_XYZ]
    ratios = [value / w for value, w in zip(times(TO_XYZ, [min(max(c, 0), 1) for c in rgb]), white)]
    x, y, z = [r ** (1 / 3) if r > 216 / 24389 else (24389 / 27 * r + 16) / 116 for r in ratios]
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def difference(one, two):
    (l1, a1, b1), (l2, a2, b2) = one, two
    rad, seventh = math.radians, 25.0 ** 7
    mean = (math.hypot(a1, b1) + math.hypot(a2, b2)) / 2
    g = 0.5 * (1 - math.sqrt(mean ** 7 / (mean ** 7 + seventh)))
    a1, a2 = a1 * (1 + g), a2 * (1 + g)
    c1, c2 = math.hypot(a1, b1), math.hypot(a2, b2)
    h1, h2 = (math.degrees(math.atan2(b, a)) % 360 if a or b else 0 for a, b in ((a1, b1), (a2, b2)))
    turn, total = h2 - h1, h1 + h2
    if c1 * c2 == 0:
        turn, hue = 0, total
    else:
        turn += -360 if turn > 180 else 360 if turn < -180 else 0
        hue = total / 2 if abs(h1 - h2) <= 180 else (total + 360) / 2 if total < 360 else (total - 360) / 2
    light, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    t = (1 - 0.17 * math.cos(rad(hue - 30)) + 0.24 * math.cos(rad(2 * hue)) + 0.32 * math.cos(rad(3 * hue + 6))
         - 0.2 * math.cos(rad(4 * hue - 63)))
    sl = 1 + 0.015 * (light - 50) ** 2 / math.sqrt(20 + (light - 50) ** 2)
    sc, sh = 1 + 0.045 * chroma, 1 + 0.015 * chroma * t
    rt = -2 * math.sqrt(chroma ** 7 / (chroma ** 7 + seventh)) * math.sin(rad(60 * math.exp(-((hue - 275) / 25) ** 2)))
    dl, dc, dh = (l2 - l1) / sl, (c2 - c1) / sc, 2 * math.sqrt(c1 * c2) * math.sin(rad(turn / 2)) / sh
    return math.sqrt(dl * dl + dc * dc + dh * dh + rt * dc * dh)


def contrast(one, two):
    """Of WCAG 2: 1 to 21."""
    a, b = (times(TO_XYZ, linear(c))[1] for c in (one, two))
    return (max(a, b) + 0.05) / (min(a, b) + 0.05)


def palettes(text):
    """{"light": {name: code}, "dark": ...}: the custom properties of a page's style."""
    light, _, rest = text.partition("@media (prefers-color-scheme:dark)")
    found = lambda part: dict(re.findall(r"--(\w+):(#[0-9a-f]{3,6})\b", part))
    return {"light": found(light), "dark": {**found(light), **found(rest[:rest.index("}}")])}}


def nearest(codes, seen):
    """The least difference of any two, and which: (difference, i, j)."""
    labs = [lab(times(SEEN[seen], linear(code))) for code in codes]
    return min((difference(labs[i], labs[j]), i, j) for i, j in itertools.combinations(range(len(codes)), 2))


def check_difference():
    """A few of the pairs that Sharma and others published for whoever writes this formula."""
    for one, two, right in (((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425), ((50, -1, 2), (50, 0, 0), 2.3669),
                            ((50, 2.49, -0.001), (50, -2.49, 0.0011), 7.2195), ((50, 2.5, 0), (56, -27, -3), 31.9030),
                            ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
                            ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082)):
        assert abs(difference(one, two) - right) < 5e-5, (one, two, difference(one, two))


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as page:
        for theme, names in palettes(page.read()).items():
            for kind in "kc":
                codes = [names[n] for n in sorted(names) if re.fullmatch(kind + r"\d", n)]
                for seen in SEEN:
                    far, i, j = nearest(codes, seen)
                    print(f"{theme}, {kind}0 to {kind}{len(codes) - 1}, {seen}: {far:.1f} between {kind}{i} and {kind}{j}")
