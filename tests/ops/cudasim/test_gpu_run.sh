#!/bin/sh
# SPDX-License-Identifier: MIT
# tests/gpu/run without a GPU: every stage on the simulated device, with numbers that are JSON; then with programs that go
# wrong in one way each, that it says so, goes on, and ends with 1.
set -u
: "${BUILD:=build}"
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failed=0
fail() {
    echo "$*"
    failed=1
}
expect() { # FOLDER STAGE STATUS
    grep -q "^{\"stage\": \"$2\", \"status\": \"$3\", \"seconds\": [0-9]*, \"limit\": [0-9]*}\$" "$1/stages.json" ||
        fail "$2 is not $3: $(grep "\"$2\"" "$1/stages.json"); $(tail -n 5 "$1/$2.log")"
}

CUDNN=$work/none BUILD=$BUILD tests/gpu/run "$work/dry" cudasim:0 >"$work/said" || fail "the dry run ended with $?: $(cat "$work/said")"
for stage in describe copy ops step products engines; do
    expect "$work/dry" $stage passed
done
expect "$work/dry" plans absent
expect "$work/dry" cifar absent
for numbers in '"device": "cudasim:0", "library": "simulated GPU 0, cuDNN 9.19.0"' '"in_bytes_per_s": [0-9.e+]*' \
    '"recorded": 0, .*"img_per_s": [0-9.]*, .*"loss": [0-9.e-]*, "grad_norm": [0-9.e-]*}$' '"recorded": 1, ' '"conv": "layer4.2.conv3", "precision": "f32", "pass": 2, .*"place": 0, "engine": "5", .*"ms": 1.0000, ' \
    '"conv": "layer4.2.conv3", "precision": "bf16", "pass": 2, .*"place": 2, "engine": "6 2=1", .*"ms": 1.0000, ' '"conv": "product", "precision": "fp16", "pass": 1, .*"place": 1, "engine": "4 2=7", '; do
    cat "$work/dry"/*.json | grep -q "^{.*$numbers" || fail "no line with $numbers"
done
# Three engines in bf16 and fp16, one in tf32 and f32; the picture has no gradient.
[ "$(grep -c '"conv"' "$work/dry/engines.json")" = $(((53 * 3 - 1) * 8)) ] || fail "$(grep -c '"conv"' "$work/dry/engines.json") engines were timed"
[ "$(grep -c '"conv": "product"' "$work/dry/products.json")" = $((3 * 8)) ] || fail "$(grep -c '"conv"' "$work/dry/products.json") products were timed"
# The fastest and the slowest engine have the same work to do.
awk -F'[:,}]' '{ for (i = 1; i < NF; i++) { if ($i ~ /"ms"/) ms = $(i + 1); if ($i ~ /"tflops"/) rate = $(i + 1) } if (ms * rate <= 0) exit 1 }' \
    "$work/dry/products.json" || fail "a product without a rate"

# A tool that fails at one stage, hangs at another, and a suite that fails.
mkdir -p "$work/fake/tests/gpu" "$work/fake/tests/ops" "$work/fake/tests/cuda"
cat >"$work/fake/tests/gpu/tool_gpu" <<'TOOL'
#!/bin/sh
case $1 in copy) exit 3 ;; step) sleep 60 ;; *) echo '{}' ;; esac
TOOL
printf '#!/bin/sh\nexit 1\n' >"$work/fake/tests/ops/test_backend_program"
printf '#!/bin/sh\nexit 1\n' >"$work/fake/tests/cuda/tool_plans"
chmod +x "$work"/fake/tests/*/*
BUILD=$work/fake tests/gpu/run "$work/wrong" cudasim:0 2 >"$work/said" && fail "stages failed, and it ended with 0"
expect "$work/wrong" describe passed
expect "$work/wrong" copy failed
expect "$work/wrong" ops failed
expect "$work/wrong" step late
expect "$work/wrong" engines passed
expect "$work/wrong" plans failed
tests/gpu/run >/dev/null 2>&1 && fail "without a folder it ended with 0"

# CIFAR-10's training on the CPU, small: an epoch, then another one from where it stopped; and of data that is not there.
mkdir "$work/data"
for file in data_batch_1 test_batch; do
    for class in 0 1 2 3 0 1 2 3 0 1 2 3 0 1 2 3; do
        printf "\\00$class"
        head -c 3072 /dev/urandom
    done >"$work/data/$file.bin"
done
for epochs in 1 2; do
    BUILD=$BUILD tests/gpu/cifar "$work/cifar" "$work/data" cpu $epochs --batch-size 8 --width 0.0625 --bn-group-size 8 --moco-k 16 --no-report \
        >"$work/said" 2>&1 || fail "cifar ended with $?: $(tail -n 3 "$work/said")"
    tail -n 1 "$work/said" | grep -q "^{\"type\":\"epoch\",\"epoch\":$epochs,.*\"knn_top1\":" || fail "another last line: $(tail -n 1 "$work/said")"
done
grep -q '"epoch":1,"step":2' "$work/cifar/metrics.jsonl" || fail "the first epoch is gone"
BUILD=$BUILD tests/gpu/cifar "$work/none" "$work/nowhere" cpu 1 >/dev/null 2>&1 && fail "without data it ended with 0"
exit $failed
