#!/bin/sh
# The folder that a person names: one too high or too low, parts under other names, files left out, folders that are no data, and classes
# that the held-out set numbers in another way.
. "$(dirname "$0")/../judged.sh"
BUILD=$(cd "$BUILD" && pwd)
mkdir "$work/base" && "$BUILD/tests/train/tool_draw" "$work/base" 48 16 && mv "$work/base/test" "$work/base/val" || exit 1
cd "$work" || exit 1
tiny="--preset demo --size 16 -b 8 --bn-group-size 8 --moco-k 8 --moco-dim 16 --width 0.125 --threads 1 -j 1 --no-report"

# look STATUS WORD DIR: train_imagenet --dry-run on DIR, its status, and WORD in what it says ("": no warning of the folder)
look() {
    "$BUILD/examples/train_imagenet" "$3" $tiny --device ref --knn-k 5 --dry-run --out "$work/none" >out 2>err
    status=$?
    [ $status -eq "$1" ] || { fail "status $status, not $1: $3"; cat err; }
    if [ -z "$2" ]; then
        [ ! -s err ] || { fail "words about $3: $(cat err)"; }
    else
        grep -q -- "$2" err out || { fail "no \"$2\" about $3"; cat err; }
    fi
}
images() { grep -q "^  data .*: $1 images, $2 classes" out || fail "not $1 images of $2 classes: $(grep '^  data' out)"; }
copy() { mkdir -p "$1" && cp -r base/train base/val "$1"; }

look 0 "" base
images 48 3
# Too high: the folder that was meant, by its name; annotations of the same names are no images.
copy high/Data/CLS-LOC
mkdir -p high/Annotations/CLS-LOC/train/n1 high/Annotations/CLS-LOC/val
touch high/Annotations/CLS-LOC/train/n1/a.xml high/Annotations/CLS-LOC/val/b.xml
look 1 "but high/Data/CLS-LOC holds train/ and val/; name that folder" high
look 1 "but high/Data/CLS-LOC holds train/ and val/; name that folder" high/Data/
mkdir link && ln -s ../base link/set
look 1 "but link/set holds" link
copy two/a && copy two/b
look 1 "but two/a holds train/ and val/, and there are more" two
mkdir mixed && cp -r base mixed/set && cp -r base/train/0 mixed/own
look 0 "mixed/set holds train/ and val/: all of that is trained on" mixed
mkdir -p cifar/bin && head -c 61460 /dev/zero >cifar/bin/data_batch_1.bin
look 1 "cifar/bin holds CIFAR-10's files; name that folder" cifar
# Too low.
look 0 "nothing is held out: base/train is the train/ of .*/base, which has val/" base/train
(cd base/train && "$BUILD/examples/train_imagenet" . $tiny --dry-run >"$work/out" 2>"$work/err")
grep -q "\. is the train/ of .*/base" err || fail "nothing about train/ that is named as ."
look 0 "base/train/0 is one class folder of .*/base/train" base/train/0
# Parts under other names.
mkdir named && cp -r base/train named/Training && cp -r base/val named/Testing
look 1 "Training/ and Testing/, which would be two classes.*rename them train/ and val/" named
mv named/Training named/train && mv named/Testing named/val # what the sentence says
look 0 "" named
mkdir half && cp -r base/train half/train && cp -r base/val half/validation
look 0 "rename validation/ to val/" half
mkdir held && cp -r base/val held/val && cp -r base/val held/test
look 1 "no train/" held
# A class that is called train; images that are beside what is used.
mkdir class && cp -r base/train/0 class/train && cp -r base/train/1 class/bus
look 0 "folders beside it (bus/)" class
copy loose && cp base/train/0/*.png loose
look 0 "the 16 images beside it are not used" loose
mkdir -p flat/extra && cp base/train/*/*.png flat && cp base/train/0/*.png flat/extra
look 0 "the images beside the one folder flat/extra are not trained on" flat
mkdir one && cp -r base/train one/all
look 0 "all images lie in the one class folder one/all; if its folders are the classes, name it" one
# Archives that nobody unpacked.
mkdir -p tars/train && touch tars/train/n1.tar.gz tars/train/n2.tar.gz
look 1 "there are archives (2, such as n[12].tar.gz): unpack" tars

# What is left out because of its name, counted by extension; .jpe and .jfif are read.
copy other
for i in 1 2 3; do touch "other/train/1/$i.tiff" "other/val/2/$i.BMP"; done
touch other/train/note.txt
mv other/train/0/000.png other/train/0/000.jfif
look 0 "3 pictures in other/train are left out (3 .tiff)" other
images 48 3
grep -q "^  data .*left out: 4 files: 3 .tiff, 1 .txt" out || fail "the data line counts nothing"
grep -q "^  held out .*left out: 3 files: 3 .bmp" out || fail "the held-out line counts nothing"

# A run within the data: going on, and its folder and those of other runs are no data, pictures in them or not.
cp -r base/train inside && cd inside || exit 1
"$BUILD/examples/train_imagenet" . $tiny --epochs 3 --max-steps 4 >../out 2>../err || fail "a run within the data: $(cat ../err)"
cp 0/000.png moco-run/screen.png
cp -r moco-run other-run
"$BUILD/examples/train_imagenet" . --resume auto >../out 2>../err || fail "cannot go on within the data: $(cat ../err)"
cd ..
look 0 "class folders: 48 images, 3 classes" inside
mkdir plain && cp base/train/*/*.png plain && cp -r inside/moco-run plain/run7
look 0 "a flat folder: 48 images, 0 classes" plain

# Classes are matched by name: renamed, missing or more of them, the kNN accuracy is that of the images that can be judged.
knn() { # DIR: the accuracy of the untrained encoder
    rm -rf knn
    "$BUILD/examples/train_imagenet" "$1" $tiny --knn-k 5 --max-steps 1 --out knn >out 2>err || fail "$1: $(cat err)"
    sed -n 's/.*kNN \([0-9.]*\) % untrained.*/\1/p' out
}
mkdir own && cp -r base/train own/train && cp -r base/train own/val # its own pictures: each is its nearest neighbour
whole=$(knn own)
mkdir -p own/val/00 && cp base/val/0/*.png own/val/00 # comes first: every later number would be off by one
[ "$(knn own)" = "$whole" ] || fail "with one class more in val/ the kNN accuracy is $(knn own), not $whole"
grep -q "val/ has 1 class folder that train/ has not (00), whose 6 images are not measured" err || fail "not said: $(cat err)"
rm -r own/val/00 own/val/0
knn own >accuracy
grep -q "val/ has none of the class folder 0 of train/" err || fail "not said: $(cat err)"
awk -v w="$whole" '{ exit !($1 > w - 25 && $1 > 40) }' accuracy || fail "without class 0 the accuracy is $(cat accuracy), not about $whole"
"$BUILD/examples/linear_probe" own --pretrained knn/encoder.safetensors --fast --epochs 30 --threads 1 --out probe >out 2>err ||
    fail "a probe on it: $(cat err)"
grep -q "val/ has none of the class folder 0" err || fail "linear_probe does not say it"
for class in 1 2; do mv own/val/$class own/val/x$class; done
look 0 "no class folder of val/ (x1) is named as one of train/" own
# CIFAR-10's files: beside images, and those for Python.
mkdir -p cifar/more/a python/cifar-10-batches-py
{ printf '\003'; head -c 3072 /dev/zero; } >record
for i in 1 2 3 4 5 6 7 8 9; do cat record; done >cifar/data_batch_1.bin
cp cifar/data_batch_1.bin python/cifar-10-batches-py/data_batch_1
look 0 "no test_batch.bin beside the training files" cifar
! grep -q "are not used" err || fail "images are told where there are none: $(cat err)"
cp base/train/0/000.png cifar/more/a
look 0 "cifar holds CIFAR-10's files, which are trained on; the images beside them are not used" cifar
look 1 "CIFAR-10's files for Python: take its binary version" python
look 1 "CIFAR-10's files for Python: take its binary version" python/cifar-10-batches-py
exit $failed
