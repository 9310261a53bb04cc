#!/bin/bash
# The MPIJob of docs/ranks.md against the fields of kubeflow.org/v2beta1, which this list was written from by hand, and what
# the operator's validation wants beside them. Nothing of Kubernetes is run. A field that is misspelt, or has another type,
# must be found: the last lines make such ones.
exec python3 - <<'PYTHON'
import copy, re

POD = {"containers": [{"name": str, "image": str, "command": [str], "args": [str], "resources": {"limits": dict, "requests": dict}}],
       "volumes": list, "nodeSelector": dict, "restartPolicy": str}
REPLICAS = {"replicas": int, "restartPolicy": {"Never", "OnFailure"}, "template": {"metadata": dict, "spec": POD}}
JOB = {
    "apiVersion": {"kubeflow.org/v2beta1"}, "kind": {"MPIJob"},
    "metadata": {"name": str, "namespace": str, "labels": dict, "annotations": dict},
    "spec": {
        "slotsPerWorker": int, "runLauncherAsWorker": bool, "sshAuthMountPath": str,
        "launcherCreationPolicy": {"AtStartup", "WaitForWorkersReady"}, "mpiImplementation": {"OpenMPI", "Intel", "MPICH"},
        "runPolicy": {"cleanPodPolicy": {"None", "Running", "All"}, "ttlSecondsAfterFinished": int, "activeDeadlineSeconds": int,
                      "backoffLimit": int, "suspend": bool, "managedBy": str, "schedulingPolicy": dict},
        "mpiReplicaSpecs": {"Launcher": REPLICAS, "Worker": REPLICAS}}}


def flow(text):
    """[a, "b"] and {a: 1}, and what stands alone."""
    text = text.strip()
    if text[:1] in "[{" and text:
        parts, depth, at = [], 0, 1
        for i, c in enumerate(text):
            depth += (c in "[{") - (c in "]}")
            if depth == 1 and c == "," or depth == 0:
                parts.append(text[at:i])
                at = i + 1
        assert depth == 0, text
        if text[0] == "[":
            return [flow(part) for part in parts]
        return dict((key.strip(), flow(value)) for key, value in (part.split(":", 1) for part in parts))
    if text[:1] == '"':
        return text[1:-1]
    return int(text) if re.fullmatch(r"-?\d+", text) else {"true": True, "false": False}.get(text, text)


def block(lines, indent):
    """Lines of (indent, text), as much of them as belongs to a mapping or list of this indent."""
    items, keys = [], {}
    while lines and lines[0][0] == indent:
        text = lines[0][1]
        if text.startswith("- "):
            inner = text[2:]
            if inner[0] in "[{":
                lines.pop(0)
                items.append(flow(inner))
            else:
                lines[0] = (indent + 2, inner)
                items.append(block(lines, indent + 2))
            continue
        if items:  # a key behind a list of the same indent belongs to the mapping above
            break
        lines.pop(0)
        key, value = text.split(":", 1)
        assert key not in keys, key + " twice"
        at = lines[0][0] if lines else -1
        is_list = bool(lines) and lines[0][1].startswith("- ")
        keys[key] = flow(value) if value.strip() else block(lines, at) if at > indent or (at == indent and is_list) else None
    return items or keys


def check(value, wanted, path):
    if isinstance(wanted, dict):
        assert isinstance(value, dict), path + " is no mapping"
        for key in value:
            assert key in wanted, "%s.%s is no field" % (path, key)
            check(value[key], wanted[key], "%s.%s" % (path, key))
    elif isinstance(wanted, list):
        assert isinstance(value, list) and value, path + " is no list"
        for item in value:
            check(item, wanted[0], path + "[]")
    elif isinstance(wanted, set):
        assert value in wanted, "%s is %s" % (path, value)
    else:
        assert type(value) is wanted, "%s is %r" % (path, value)


def valid(job):
    check(job, JOB, "MPIJob")
    spec = job["spec"]
    for kind in ("Launcher", "Worker"):
        replicas = spec["mpiReplicaSpecs"][kind]
        assert replicas["replicas"] >= 1 and (kind == "Worker" or replicas["replicas"] == 1), kind
        assert replicas["template"]["spec"]["containers"], kind
    ranks = spec["mpiReplicaSpecs"]["Worker"]["replicas"] * spec["slotsPerWorker"]
    command = spec["mpiReplicaSpecs"]["Launcher"]["template"]["spec"]["containers"][0]["command"]
    assert command[command.index("-np") + 1] == str(ranks), "not as many ranks as slots"


page = open("docs/ranks.md").read()
text = page[page.index("    apiVersion:"):]
text = text[:text.index("\n\n")]
lines = [(len(line) - len(line.lstrip()) - 4, line.strip()) for line in text.split("\n")]
job = block(lines, 0)
assert not lines, lines
valid(job)
print("the MPIJob of docs/ranks.md: %d ranks" % job["spec"]["mpiReplicaSpecs"]["Worker"]["replicas"])

planted = [(("spec",), "slotsPerWorkers", 1), (("spec",), "slotsPerWorker", "1"), (("spec",), "mpiImplementation", "openmpi"),
           (("spec", "runPolicy"), "backofflimit", 1), (("spec", "mpiReplicaSpecs"), "Workers", {}),
           (("spec", "mpiReplicaSpecs", "Worker"), "replicas", 3), (("spec", "mpiReplicaSpecs", "Launcher"), "restartPolicy", "Always"),
           ((), "apiVersion", "kubeflow.org/v1")]
for path, key, value in planted:
    wrong = copy.deepcopy(job)
    at = wrong
    for part in path:
        at = at[part]
    at[key] = value
    try:
        valid(wrong)
    except AssertionError:
        continue
    raise SystemExit("not found: %s %r" % (key, value))
PYTHON
