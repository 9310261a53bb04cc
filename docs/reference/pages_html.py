# SPDX-License-Identifier: MIT
"""The reference as HTML: an index, a page for each header, one for the programs. No script, no network; every page is
whole in itself, and XML too. Colours and type are those of the programs' report page."""
import re

import man1
import man3
import naming
import prose

STYLE = """
:root{--page:#fff;--ink:#1c2024;--soft:#59626c;--rule:#e2e6ea;--wash:#f4f6f8;--link:#0065a0;--mark:#fff3d6}
@media (prefers-color-scheme:dark){:root{--page:#14171a;--ink:#e8eaec;--soft:#a0a8b0;--rule:#2d3339;--wash:#1d2125;
--link:#5ab5ea;--mark:#3a3014}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%;scroll-padding-top:1rem}
body{margin:0 auto;max-width:76rem;padding:2rem clamp(1rem,4vw,3rem) 4rem;background:var(--page);color:var(--ink);
font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",Ubuntu,sans-serif}
code,pre,.proto{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;font-size:.875em}
code code{font-size:1em}
a{color:var(--link);text-decoration:none}a:hover,a:focus{text-decoration:underline}
h1{font-size:1.9rem;line-height:1.2;font-weight:650;letter-spacing:-.015em;margin:0 0 .4rem;overflow-wrap:anywhere}
h2{font-size:1.25rem;font-weight:650;margin:3rem 0 .6rem}
h3{font-size:1.02rem;font-weight:650;margin:0 0 .5rem;overflow-wrap:anywhere}
h4{font-size:.95rem;font-weight:650;margin:1.4rem 0 .3rem}
p,li,dd{max-width:46rem;overflow-wrap:anywhere}
p{margin:.6rem 0}
.pages{font-size:.85rem;display:flex;flex-wrap:wrap;gap:.1rem .9rem;border-bottom:1px solid var(--rule);padding-bottom:.8rem;
margin-bottom:1.8rem}
.pages a[aria-current]{color:var(--ink);font-weight:650}
.soft,.facts{color:var(--soft)}
.facts{font-size:.85rem;margin-top:.5rem}
.toc{font-size:.85rem;margin:1.4rem 0 0}
.toc ul,.names{list-style:none;margin:.2rem 0 .8rem;padding:0}
.toc a,.names a{overflow-wrap:anywhere}
.names{columns:16rem auto;column-gap:2rem;font-size:.9rem}
article{border-top:1px solid var(--rule);padding:1.3rem 0 .6rem}
article:target,.at:target{background:var(--mark)}
.proto{background:var(--wash);border-radius:4px;padding:.55rem .8rem .55rem 2.4rem;text-indent:-1.6rem;margin:.5rem 0;line-height:1.6}
.proto span{white-space:nowrap}
@media (max-width:34rem){.proto span{display:block;white-space:normal;text-indent:0}.proto{padding-left:2rem;text-indent:-1.2rem;
overflow-wrap:anywhere}}
.scroll{overflow-x:auto;background:var(--wash);border-radius:4px;margin:.6rem 0}
pre{margin:0;padding:.6rem .8rem;line-height:1.45;width:max-content;min-width:100%}
dl{margin:.6rem 0}
dt{margin-top:.45rem;overflow-wrap:anywhere}dd{margin:.05rem 0 0 1.4rem}
.headers{display:grid;grid-template-columns:minmax(8rem,max-content) 1fr;gap:.35rem 1.4rem}
.headers dt,.headers dd{margin:0}
footer{margin-top:4rem;font-size:.85rem;color:var(--soft)}
@media (min-width:62rem){.sided{display:grid;grid-template-columns:16rem minmax(0,1fr);column-gap:3rem}
.toc{position:sticky;top:1rem;max-height:calc(100vh - 2rem);overflow-y:auto;align-self:start;margin:0}
.sided>main>h2:first-child{margin-top:0}}
@media print{.toc,.pages{display:none}article{break-inside:avoid}}
"""


def escape(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


class Pages:
    def __init__(self, reference, programs):
        self.reference, self.programs = reference, programs

    def place(self, name):
        """Where a name is explained, as a relative address."""
        group = self.reference.home.get(name)
        return "%s.html#%s" % (group.header.short, name) if group else None

    def name(self, name):
        place = self.place(name)
        text = "<code>%s</code>" % escape(name)
        return '<a href="%s">%s</a>' % (place, text) if place else text

    def inline(self, text):
        out = []
        for kind, piece in prose.spans(text):
            if kind == "code":
                out.append("<code>%s</code>" % escape(piece))
            elif kind == "em":
                out.append("<em>%s</em>" % escape(piece))
            elif kind == "name":
                out.append(self.name(piece))
            elif kind == "header":
                known = piece in [header.name for header in self.reference.headers]
                place = "index" if piece == "moco/moco.h" else piece[5:-2]
                out.append('<a href="%s.html"><code>%s</code></a>' % (place, piece) if known else escape(piece))
            else:
                out.append(escape(piece))
        return "".join(out)

    def linked(self, text):
        """Code whose names of libmoco are links."""
        out, at = [], 0
        for match in re.finditer(r"\b(?:moco|MOCO)_\w+", text):
            out.append(escape(text[at:match.start()]))
            place = self.place(match.group(0))
            out.append('<a href="%s">%s</a>' % (place, match.group(0)) if place else match.group(0))
            at = match.end()
        return "".join(out) + escape(text[at:])

    def blocks(self, blocks):
        out = []
        for block in blocks:
            if block[0] == "p":
                out.append("<p>%s</p>" % self.inline(block[1]))
            elif block[0] == "list":
                out.append("<ul>%s</ul>" % "".join("<li>%s</li>" % self.inline(item) for item in block[1]))
            elif block[0] == "pre":
                out.append('<div class="scroll"><pre>%s</pre></div>' % "\n".join(self.linked(line) for line in block[1]))
            elif block[0] == "defs":
                out.append("<dl>%s</dl>" % "".join("<dt><code>%s</code></dt><dd>%s</dd>" % (escape(term), self.inline(text))
                                                   for term, text in block[1]))
            elif block[0] == "head":
                out.append("<h4>%s</h4>" % escape(block[1]))
        return "\n".join(out)

    def page(self, short, title, body):
        pages = [("index", "libmoco")] + [(header.short, header.name) for header in self.reference.headers[1:]] + \
            [("programs", "programs")]
        links = "\n".join('<a href="%s.html"%s>%s</a>' % (name, ' aria-current="page"' if name == short else "", escape(text))
                          for name, text in pages)
        return """<!DOCTYPE html>
<html lang="en" xmlns="http://www.w3.org/1999/xhtml">
<head>
<meta charset="utf-8" />
<meta name="viewport" content="width=device-width,initial-scale=1" />
<meta name="color-scheme" content="light dark" />
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'" />
<title>%s</title>
<style>%s</style>
</head>
<body>
<nav class="pages">
%s
</nav>
%s
<footer>libmoco %s. This page is made from the headers and from what the programs say on --help.</footer>
</body>
</html>
""" % (escape(title), STYLE, links, body, self.reference.version)

    def prototype(self, entry):
        head = {"function": entry.result + entry.name, "macro": entry.name,
                "callback": "typedef " + entry.result + "(*" + entry.name + ")"}[entry.kind]
        head = re.sub(r"\b%s\b" % entry.name, "\0", head)
        head = self.linked(head).replace("\0", "<b>%s</b>" % entry.name) + "("
        parts = []
        for i, (before, name, behind) in enumerate(entry.parameters):
            end = ");" if i + 1 == len(entry.parameters) else ","
            parts.append("<span>%s<i>%s</i>%s</span>" % (self.linked(before), name, escape(behind) + end) if name else
                         "<span>%s%s</span>" % (self.linked(before), end))
        return '<div class="proto">%s%s</div>' % (head, " ".join(parts) or ");")

    def entry(self, entry):
        if entry.kind in ("function", "macro", "callback"):
            return self.prototype(entry)
        if entry.kind in ("struct", "enum"):
            end = ";" if entry.kind == "struct" else ","
            lines = ["typedef %s <b>%s</b> {" % (entry.kind, entry.name)]
            lines += ["    " + self.linked(field.declaration) + end if entry.kind == "struct" else
                      '    <span class="at" id="%s">%s</span>%s' % (field.name, escape(field.declaration), end)
                      for field in entry.fields]
            return '<div class="scroll"><pre>%s\n} %s;</pre></div>' % ("\n".join(lines), entry.name)
        return '<div class="proto">%s</div>' % escape(entry.source)

    def fields(self, entry):
        out = []
        for field in entry.fields:
            name = "<code>%s</code>" % escape(field.name)
            if field.with_last and out:
                out[-1] = (out[-1][0] + ", " + name, out[-1][1])
            elif field.text:
                out.append((name, self.inline(field.text)))
        return "<dl>%s</dl>" % "".join("<dt>%s</dt><dd>%s</dd>" % pair for pair in out) if out else ""

    def errors(self, text):
        out = []
        for code, why in prose.split_errors(text):
            why = why or self.reference.constants.get(code, "")
            out.append("<dt>%s</dt><dd>%s</dd>" % (self.name(code), self.inline(why)) if code else
                       "<dt></dt><dd>%s</dd>" % self.inline(why))
        return "<h4>Errors</h4><dl>%s</dl>" % "".join(out)

    def uses(self, handle):
        names = [entry.name for entry in self.reference.uses(handle)]
        return '<p class="facts">Functions: %s</p>' % ", ".join(self.name(name) for name in names) if names else ""

    def group(self, group):
        out = ['<article id="%s">' % group.name,
               "<h3>%s</h3>" % ", ".join('<span class="at"%s>%s</span>' % (' id="%s"' % entry.name if i else "", entry.name)
                                         for i, entry in enumerate(group.entries))]
        out += [self.entry(entry) for entry in group.entries]
        out.append(self.blocks(group.blocks))
        out += [self.fields(entry) for entry in group.entries]
        if group.entries[0].kind == "handle":
            out.append(self.uses(group.name))
        out += [self.label(group.labels, group.entries)]
        for other in group.tail:
            out.append(self.blocks(other.blocks))
            out += ['<div class="at" id="%s">%s</div>' % (entry.name, self.entry(entry)) for entry in other.entries]
            out.append(self.label(other.labels, other.entries))
        return "\n".join(part for part in out if part) + "\n</article>"

    def label(self, labels, entries):
        out = self.errors(labels["Errors"]) if "Errors" in labels else ""
        facts = ["%s: %s" % (label, self.inline(labels[label])) for label in ("Memory", "Threads") if label in labels]
        facts += ["Since %s." % labels["Since"]] if "Since" in labels else []
        cpp = self.reference.in_cpp(entries)
        facts += ["In C++: %s." % ", ".join("<code>%s</code>" % name for name in cpp)] if cpp else []
        return out + ('<p class="facts">%s</p>' % " ".join(facts) if facts else "")

    def header(self, header):
        contents, body, section = [], [], ""
        for group in header.groups:
            if group.section != section:
                section = group.section
                contents.append("</ul>%s<ul>" % ("<b>%s</b>" % escape(section)))
                body.append("<h2>%s</h2>" % escape(section[0].upper() + section[1:]))
            contents += ['<li><a href="#%s">%s</a></li>' % (entry.name, entry.name) for entry in group.entries]
            body.append(self.group(group))
        intro = [(header.intro[0][0], header.intro[0][1][0].upper() + header.intro[0][1][1:])] + header.intro[1:]
        return self.page(header.short, header.name + " - libmoco", """<header>
<h1>%s</h1>
%s
</header>
<div class="sided">
<nav class="toc"><ul>%s</ul></nav>
<main>
%s
</main>
</div>""" % (header.name, self.blocks(intro), "\n".join(contents), "\n".join(body)))

    def index(self):
        first = self.reference.headers[0]
        intro = [("p", first.intro[0][1][0].upper() + first.intro[0][1][1:])] + first.intro[1:]
        headers = "".join('<dt><a href="%s.html"><code>%s</code></a></dt><dd>%s</dd>' % (header.short, header.name, escape(
            header.summary)) for header in self.reference.headers[1:])
        programs = "".join('<dt><a href="programs.html#%s"><code>%s</code></a></dt><dd>%s</dd>' % (
            "-".join(program.name), " ".join(program.name), escape(program.summary)) for program in self.programs)
        names = sorted(name for name in self.reference.home if not name.endswith("_"))
        every = "".join('<li><a href="%s">%s</a></li>' % (self.place(name), name) for name in names)
        return self.page("index", "libmoco %s" % self.reference.version, """<header>
<h1>libmoco %s</h1>
%s
</header>
<main>
<h2>Headers</h2>
<dl class="headers">%s</dl>
<h2>C++</h2>
%s
<h2>Programs</h2>
<dl class="headers">%s</dl>
<h2>All names</h2>
<ul class="names">%s</ul>
</main>""" % (self.reference.version, self.blocks(intro), headers, self.blocks(man3.capitalised(self.reference.cpp_intro)),
                programs, every))

    def program(self, program):
        out = ['<article id="%s">' % "-".join(program.name), "<h3>%s</h3>" % escape(" ".join(program.name)),
               "<p>%s</p>" % escape(program.summary[0].upper() + program.summary[1:] + ".")]
        out += ['<div class="proto">%s</div>' % escape(call) for call, _ in program.usage]
        for title, blocks in man1.parts(program):
            text = self.blocks(blocks)
            if program.name == ["moco"]:
                text = re.sub(r"<dt><code>([a-z]+)</code>", r'<dt><a href="#moco-\1"><code>moco \1</code></a>', text)
            out += ["<h4>%s</h4>" % title.capitalize(), text]
        return "\n".join(out) + "\n</article>"

    def all_programs(self):
        contents = "".join('<li><a href="#%s">%s</a></li>' % ("-".join(program.name), " ".join(program.name))
                           for program in self.programs)
        return self.page("programs", "moco - libmoco", """<header>
<h1>The program moco</h1>
<p>What each command prints on <code>--help</code>.</p>
</header>
<div class="sided">
<nav class="toc"><ul>%s</ul></nav>
<main>
%s
</main>
</div>""" % (contents, "\n".join(self.program(program) for program in self.programs)))


def pages(reference, programs):
    """{file name: text}"""
    make = Pages(reference, programs)
    out = {header.short + ".html": make.header(header) for header in reference.headers[1:]}
    out["index.html"] = make.index()
    out["programs.html"] = make.all_programs()
    return out
