#!/bin/sh
# Command lines: names that are cut short, options of the reference that libmoco has no use for, and --help, whose tables
# have every option that a program takes or that its text names.
set -u
BUILD=${BUILD:-build}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failed=0

# says STATUS TEXT PROGRAM ARGUMENT...: the exit status, and standard error holds TEXT in one line
says() {
    wanted=$1 text=$2 program=$3
    shift 3
    "$BUILD/examples/$program" "$@" >"$work/out" 2>"$work/err"
    status=$?
    if [ $status -ne "$wanted" ] || ! grep -qF -- "$text" "$work/err" || [ "$(wc -l <"$work/err")" -ne 1 ]; then
        echo "FAILED: $program $*: status $status, and it says: $(cat "$work/err")"
        failed=1
    fi
}

# A beginning is enough where it fits one option; the value is that option's.
says 2 "--batch-size x: that is not a whole number" train_imagenet "$work" --bat x
says 2 "--batch-size x: that is not a whole number" train_imagenet "$work" --bat=x
says 2 "--wd x: that is not a number" train_imagenet "$work" --weight x # a second name has beginnings too
says 2 "--epochs x" train_imagenet "$work" --epo x
says 2 "--epochs x" linear_probe "$work" --epo x
says 2 "--threads x" demo "$work" --th x
says 2 "--threads x" compare "$work" --th x
"$BUILD/examples/train_imagenet" --hel >"$work/out" || { echo "FAILED: --hel is not --help"; failed=1; }
# More than one: which. A whole name is never the beginning of another one (lr, lr-schedule).
says 2 "--s is the beginning of more than one option: --stem, --size, --symmetric, --shuffle, --schedule, --seed, --save-index, --silence;" \
    train_imagenet "$work" --s 3
says 2 "--moco-dim, --moco-k, --moco-m, --moco-t" train_imagenet "$work" --moco 3
says 2 "--lr x: that is not a number" train_imagenet "$work" --lr x
says 2 "--no-re" train_imagenet "$work" --no-re # --no-report, --no-recompute
says 2 "there is no option --no-repo=1" train_imagenet "$work" --no-repo=1
says 2 "did you mean --batch-size?" train_imagenet "$work" --batchsize 3
says 2 "there is no option --=3" train_imagenet "$work" --=3

# --help: a usage, a table with a line for each option, and how the program ends. Options that the source compares with and
# options that the prose names are in the table; --no-X belongs to X.
table() { # what the table in $work/help has
    grep -E '^(      |  -[a-z], )--[a-z]' "$work/help" | grep -oE -- '--[a-z][a-z0-9-]*' | sort -u
}
lacking() { # PROGRAM: options that its table lacks, with the help in $work/help
    table >"$work/table"
    {
        grep -oE -- '(^|[^a-z-])--[a-z][a-z0-9-]*' "$work/help" | grep -oE -- '--.*'
        grep -oE '"--[a-z][a-z0-9-]*"' "examples/$1.c" | tr -d '"'
    } | sort -u | while read -r option; do
        grep -qx -e "$option" -e "--${option#--no-}" "$work/table" || echo "$option"
    done
}
for program in train_imagenet linear_probe compare demo embed report verify show_views inspect convert; do
    "$BUILD/examples/$program" --help >"$work/help" || { echo "FAILED: $program --help"; failed=1; }
    head -n 1 "$work/help" | grep -q "^Usage: $program " || { echo "FAILED: $program --help begins with no usage"; failed=1; }
    grep -q '^  -h, --help  *print this and stop$' "$work/help" || { echo "FAILED: the table of $program has no --help"; failed=1; }
    grep -q '^Exit codes: 0 ' "$work/help" || { echo "FAILED: $program does not say how it ends"; failed=1; }
    [ "$(awk 'length > 120' "$work/help" | wc -l)" -eq 0 ] || { echo "FAILED: lines of $program --help are too long"; failed=1; }
    lacking $program >"$work/lacking"
    [ ! -s "$work/lacking" ] || { echo "FAILED: the table of $program lacks" $(cat "$work/lacking"); failed=1; }
done
sed -i '/^      --u8/d' "$work/help"
[ "$(lacking convert)" = --u8 ] || { echo "FAILED: a line taken out of the table of convert is not missed"; failed=1; }

# The reference's distributed runs: one sentence for all of it.
says 2 "leave out --dist-url, --multiprocessing-distributed, --world-size, --rank" train_imagenet "$work" -a resnet50 \
    --lr 0.03 --batch-size 256 --dist-url tcp://localhost:10001 --multiprocessing-distributed --world-size 1 --rank 0
says 2 "leave out --dist-url, --world-size" linear_probe "$work" -a resnet50 --dist-url=tcp://localhost:10001 --world-size 1
for option in gpu dist-backend local_rank start-epoch pretrained evaluate; do
    says 2 "leave out --$option" train_imagenet "$work" --$option 1
done
says 2 "leave out -e" train_imagenet "$work" -e
says 2 "leave out --multiproc" train_imagenet "$work" --multiproc
says 2 "there is no option -g" train_imagenet "$work" -g 0
# What follows such a line's advice gets on to the pictures.
says 1 "no image" train_imagenet "$work" -a resnet50 --lr 0.03 -b 256 -j 4 -p 10 --moco-k 64 --mlp --moco-t 0.2 --aug-plus --cos
exit $failed
