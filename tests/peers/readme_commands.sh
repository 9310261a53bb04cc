#!/bin/sh
# The commands of README.md as a new user types them, in the order of the page, where this script is run: a fresh Debian and
# a user who is root or may use sudo. /data/imagenet holds pictures of 48 pixels, train/ and test/ with class folders.
#
# Every line that README sets in four spaces is run, and one that this script does not know fails it. Those that would take
# hours are shortened by options that the programs' --help explains, and by nothing else: SHORT below. `./bootstrap test` is
# left out: whoever calls this has run it, or will. Where the user is root and has no sudo, `sudo` is taken away.
set -u
data=${1:-/data}
failed=0
small="-a resnet18 --width 0.25 --stem small --size 32 -b 16 --bn-group-size 8 --moco-k 64 --knn-bank 64"
run() { # COMMAND: as it is printed; SHORT
    command=$1${2:+ $2}
    echo "\$ $command"
    start=$(date +%s)
    sh -c "$command" >readme.log 2>&1
    status=$?
    [ $status -eq 0 ] || { tail -n 15 readme.log; echo "FAILED with status $status: $command"; failed=1; }
    echo "  $(($(date +%s) - start)) s"
}

sed '/^```/,/^```/d' README.md | sed -n '/^    /s/^    //p' | sed 's/ *#.*//' | grep -v '^$' >readme.commands
[ "$(wc -l <readme.commands)" -ge 10 ] || { echo "README.md shows only $(wc -l <readme.commands) commands"; exit 1; }
ln -sfn imagenet "$data/pictures" 2>/dev/null || sudo ln -sfn imagenet "$data/pictures"
# The program in the middle of the page needs what its end installs.
{ grep -v '^cc ' readme.commands; grep '^cc ' readme.commands; } >readme.order
while IFS= read -r line <&3; do
    command -v sudo >/dev/null 2>&1 || line=$(echo "$line" | sed 's/\bsudo //')
    line=$(echo "$line" | sed "s|/data/|$data/|g")
    case $line in
    './bootstrap demo') run "$line" '--steps 20' ;;
    './bootstrap test') ;;
    make) run "$line" ;;
    *'/train_imagenet '*'--resume auto') run "$line" '--max-steps 4' ;;
    *'/train_imagenet '*'--init moco_v2_800ep_pretrain.pth.tar'*)
        # What can be had from the papers' authors: here the encoder of the run above, in its container.
        run 'build/examples/convert runs/v2/encoder.safetensors moco_v2_800ep_pretrain.pth.tar'
        run "$line" "--stem small --size 32 -b 16 --bn-group-size 8 --moco-k 64 --max-steps 2 --knn-every 0" ;;
    *'/train_imagenet '*)
        run "$line" --dry-run # with no more
        run "$line" "$small --epochs 1 --max-steps 2" ;;
    *'/linear_probe '*'--fast'*) run "$line" ;;
    *'/linear_probe '*) run "$line" '--epochs 1 -b 16' ;;
    *'/convert '*) run "$line" ;;
    *'/compare '*) run "$line" '-a resnet18 --width 0.25 --stem small --size 32 -b 16 --moco-k 64 --dry-run' ;;
    make*install*) run "$line" ;;
    cc*pkg-config*'./first '*) run "$line" 'demo 1' ;;
    'man '*) command -v man >/dev/null 2>&1 && run "$line" ;;
    *) echo "FAILED: README.md has a command that is not tried: $line"; failed=1 ;;
    esac
done 3<readme.order

# What installing promises: the installed command and its pages are found without a word more.
run 'moco --version && moco train --help'
for page in man1/moco.1 man1/moco-train.1 man3/moco_trainer_step.3 man3/libmoco.3; do
    [ -s "/usr/local/share/man/$page" ] || { echo "FAILED: /usr/local/share/man/$page is not installed"; failed=1; }
done
sudo=
command -v sudo >/dev/null 2>&1 && sudo=sudo
run "$sudo make uninstall"
left=$(find /usr/local \( -type f -o -type l \) \( -name '*moco*' -o -path '*moco*' \))
[ -z "$left" ] || { echo "FAILED: left by make uninstall: $left"; failed=1; }
run 'make clean' # all of it is the user's own
exit $failed
