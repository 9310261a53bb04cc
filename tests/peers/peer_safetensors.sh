#!/bin/sh
# A checkpoint of ours read by a reader that shares no code with it (read_safetensors.py), and by Python's safetensors
# package where that can be imported. Says which of the two ran.
set -eu
cd "$(dirname "$0")/../.."
: "${BUILD:=build}"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$BUILD/tests/peers/tool_safetensors" "$folder/ours.safetensors" >"$folder/expected"
python3 tests/peers/read_safetensors.py "$folder/ours.safetensors" >"$folder/read"
diff "$folder/expected" "$folder/read"
echo "the independent reader sees the same $(wc -l <"$folder/read") tensors and texts"
if python3 -c 'import safetensors' 2>/dev/null; then
    python3 - "$folder/ours.safetensors" "$folder/read" <<'PY'
import sys
from safetensors import safe_open
lines = [line.split(" ") for line in open(sys.argv[2], encoding="utf-8") if "=" not in line]
with safe_open(sys.argv[1], "np") as file:
    assert sorted(file.keys()) == sorted(line[0] for line in lines), sorted(file.keys())
    assert file.metadata()["note"] == "caf\u00e9 \"quoted\"", file.metadata()
    for key in file.keys():
        file.get_slice(key).get_shape()
PY
    echo "the safetensors package agrees"
else
    echo "the safetensors package is not installed: the independent reader alone was asked"
fi
