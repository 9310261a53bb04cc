#!/bin/sh
# The line that is rewritten on a terminal: never longer than the terminal is wide, whatever its width becomes, and with what
# matters most in it.
set -u
BUILD=${BUILD:-build}
command -v python3 >/dev/null 2>&1 || { echo "SKIPPED: there is no python3"; exit 0; }
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
mkdir "$work/data" && "$BUILD/tests/train/tool_draw" "$work/data" 48 24 || exit 1
python3 - "$BUILD/examples/train_imagenet" "$work" <<'P'
import fcntl, os, pty, re, signal, struct, sys, termios

driver, work = sys.argv[1:]
failed = 0


def fail(text):
    global failed
    failed = 1
    print("FAILED:", text)


def widths(fd, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))


def start(name, columns, epochs):
    pid, fd = pty.fork()
    if pid == 0:
        widths(0, columns)
        os.execv(driver, [driver, work + "/data", "--preset", "demo", "--size", "16", "-b", "16", "--bn-group-size", "8",
                          "--moco-k", "12", "--moco-dim", "16", "--width", "0.125", "--threads", "1", "-p", "1",
                          "--epochs", str(epochs), "--knn-every", "0", "--no-report", "--out", work + "/" + name])
    return pid, fd


def read(fd):
    try:
        return os.read(fd, 65536).decode()
    except OSError:  # the other end is closed
        return ""


def shown_in(text):
    parts = [re.split(r"[\r\n]", part)[0] for part in text.split("\r\x1b[K")[1:]]
    return [line for line in parts if "step " in line]


def lines(name, columns):
    pid, fd = start(name, columns, 4)
    text = piece = read(fd)
    while piece:
        piece = read(fd)
        text += piece
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0:
        fail("%s: the driver failed: %s" % (name, text[-300:]))
    return shown_in(text)


for columns in (200, 80, 40, 12):
    shown = lines("w%d" % columns, columns)
    if len(shown) < 12:  # a slow machine rewrites a line within a step, too
        fail("%d columns: %d lines of 12 steps" % (columns, len(shown)))
    if max(map(len, shown)) >= columns:
        fail("%d columns: a line of %d" % (columns, max(map(len, shown))))
    for line in shown:
        for word, least in (("step ", 0), ("loss ", 40), ("ETA ", 40), ("img/s", 80), ("acc5 ", 200), ("epoch ", 80)):
            if columns >= least and word not in line:
                fail("%d columns: no %r in %r" % (columns, word, line))
# A terminal that becomes narrower while the run goes on: soon each line is narrower too.
pid, fd = start("resized", 200, 100000)
text = ""
while len(shown_in(text)) < 3:
    text += read(fd)
if max(map(len, shown_in(text))) < 100:
    fail("200 columns: short lines")
widths(fd, 50)
text = ""
while len(shown_in(text)) < 2000 and not (len(shown_in(text)) > 40 and max(map(len, shown_in(text)[-20:])) < 50):
    text += read(fd)
if max(map(len, shown_in(text)[-20:])) >= 50:
    fail("the terminal has 50 columns now, the line more")
os.kill(pid, signal.SIGTERM)
while read(fd):
    pass
os.waitpid(pid, 0)


def whole(command, columns, kind):
    pid, fd = pty.fork()
    if pid == 0:
        widths(0, columns)
        os.environ["TERM"] = kind
        os.execv(command[0], command)
    text = piece = read(fd)
    while piece:
        piece = read(fd)
        text += piece
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0:
        fail("%s: %s" % (command[0], text[-300:]))
    return text


# A terminal that writes no line again (TERM=dumb) gets lines, as a file does; and other programs' lines fit, too.
verify = [driver, work + "/data", "--preset", "demo", "--size", "16", "-b", "16", "--bn-group-size", "8", "--moco-k", "12",
          "--moco-dim", "16", "--width", "0.125", "--threads", "1", "-p", "1", "--knn-every", "0", "--no-report", "--verify"]
text = whole(verify + ["--epochs", "2", "--out", work + "/dumb"], 60, "dumb")
if "\x1b" in text or text.count("loss ") < 6:
    fail("TERM=dumb: %r" % text[-300:])
probe = [driver.replace("train_imagenet", "linear_probe"), work + "/data", "--pretrained", work + "/dumb/encoder.safetensors",
         "--fast", "--epochs", "30", "--threads", "1", "--out", work + "/probe"]
for command, word, many in ((verify + ["--dry-run"], "reading", 0), (probe, "epoch ", 1)): # few pictures are read at once
    text = whole(command, 12, "xterm")
    again = [re.split(r"[\r\n]", part)[0] for part in text.split("\r\x1b[K")[1:]]
    again = [line for line in again if line.startswith(word)]
    if len(again) < many or max(map(len, again), default=0) >= 12:
        fail("12 columns: %r" % again[:3])
    if "\x1b" in whole(command[:-1] + [work + "/probe2"] if command is probe else command, 60, "dumb"):
        fail("TERM=dumb: %s writes a line again" % command[0])
sys.exit(failed)
P
