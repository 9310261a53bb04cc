# SPDX-License-Identifier: MIT
"""Looks at a made reference by means that did not make it: check_reference.py MAN3 HTML HEADERS. Prints what is wrong, a
line each, and exits with 1 then.

Every HTML page is well-formed, asks for nothing from outside, runs nothing, and each of its links leads somewhere. No word
of a header's comments got lost on its way, neither to its HTML page nor to its manual pages: the comments are found here by
one regular expression, and the words of a page counted."""
import collections
import os
import re
import sys
import xml.etree.ElementTree as tree

LABELS = {"errors", "threads", "memory", "spdx", "license", "identifier", "mit", "since"}


def comments(path):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    found = []
    for match in re.finditer(r"/\*.*?\*/", text, re.S):
        line = text[text.rfind("\n", 0, match.start()) + 1:text.find("\n", match.end())]
        if not line.startswith(("#", "struct ")) and "----" not in line and "clang-format" not in line:
            found.append(match.group(0))
    return found[0], " ".join(found[1:])


def words(text):
    return collections.Counter(re.findall(r"[a-z0-9_]+", text.lower()))


def lost(comment, page):
    want, have = words(comment), words(page)
    return sorted(word for word in want if word not in LABELS and have[word] < want[word])


def text_of_man(folder, names):
    out = []
    for name in names:
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            text = file.read()
        if text.startswith(".so "):
            continue
        text = re.sub(r"^\.\\\".*$|^\.(TH|SH|PP|RS|RE|nf|fi|TP).*$", "", text, flags=re.M)
        text = re.sub(r"\\f[BIPR]|\\&", "", text).replace("\\-", "-").replace("\\(aq", "'").replace("\\(dq", '"')
        out.append(re.sub(r"^\.(BI|BR|RB|B|I|IP) ", "", text, flags=re.M))
    return " ".join(out)


def check_html(folder, problems):
    ids, links, texts = {}, [], {}
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            text = file.read()
        try:
            page = tree.fromstring(text.replace("<!DOCTYPE html>\n", "", 1))
        except tree.ParseError as error:
            problems.append("%s is not well-formed: %s" % (name, error))
            continue
        found = [element.get("id") for element in page.iter() if element.get("id")]
        problems += ["%s: two things are called #%s" % (name, what) for what, n in collections.Counter(found).items() if n > 1]
        ids[name] = set(found)
        texts[name] = " ".join(page.itertext())
        for element in page.iter():
            tag = element.tag.split("}")[-1]
            if tag in ("script", "img", "link", "iframe", "object") or any(key.startswith("on") for key in element.keys()):
                problems.append("%s: a page has no place for <%s>" % (name, tag))
            if tag == "a":
                links.append((name, element.get("href")))
            if element.get("src"):
                problems.append("%s asks for %s" % (name, element.get("src")))
        if re.search(r"url\(|@import", text):
            problems.append("%s: its style asks for a file" % name)
    for name, link in links:
        page, _, place = link.partition("#")
        page = page or name
        if page not in ids or (place and place not in ids[page]):
            problems.append("%s: a link leads nowhere: %s" % (name, link))
    if len(links) < 1000:
        problems.append("only %d links were followed" % len(links))
    return texts


def main(man3, html, headers):
    problems = []
    texts = check_html(html, problems)
    pages = sorted(os.listdir(man3))
    for page in pages:
        with open(os.path.join(man3, page), encoding="utf-8") as file:
            match = re.match(r"\.so man3/(\S+)\n", file.read())
        if match and match.group(1) not in pages:
            problems.append("%s is a link to %s, which is not there" % (page, match.group(1)))
    for header in sorted(os.listdir(headers)):
        short = header.rsplit(".", 1)[0]
        if not header.endswith((".h", ".hpp")):  # the parts of moco.hpp, whose words are no pages
            continue
        introduction, comment = comments(os.path.join(headers, header))
        introduction = re.sub(r"moco/%s:" % header, "", introduction, 1)
        page = "index.html" if short == "moco" else short + ".html"
        named = [page_name for page_name in pages if ('<moco/%s>' % header) in open(os.path.join(man3, page_name)).read()]
        man = text_of_man(man3, named if header.endswith(".h") else ["libmoco.3"])
        for what, text in (("introduction", introduction), ("comments", comment)):
            if short == "moco" and what == "comments":
                continue
            for where, have in ((page, texts.get(page, "")), ("the manual", man)):
                gone = lost(text, have)
                if gone:
                    problems.append("words of the %s of %s are not in %s: %s" % (what, header, where, " ".join(gone[:8])))
    for problem in problems:
        print(problem)
    print("%d pages of HTML, %d of the manual" % (len(texts), len(pages)))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
