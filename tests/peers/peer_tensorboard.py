# SPDX-License-Identifier: MIT
"""What TensorBoard's own reader finds in the event files of the driver."""
import os
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "train", "report"))
import check_page  # noqa: E402
import test_report as made  # noqa: E402
from tensorboard.backend.event_processing import event_accumulator  # noqa: E402


def read(folder):
    reader = event_accumulator.EventAccumulator(folder, size_guidance={event_accumulator.SCALARS: 0})
    reader.Reload()
    return {tag: [(event.step, event.value) for event in reader.Scalars(tag)] for tag in reader.Tags()["scalars"]}


def main():
    work = tempfile.mkdtemp()
    try:
        data, run = os.path.join(work, "data"), os.path.join(work, "run")
        made.draw_pictures(data)
        made.train(data, run, "--epochs", "4", "--max-steps", "8", "--tensorboard")
        # Back to the end of the second epoch: steps 7 and 8 are taken again, and TensorBoard has to forget the first ones.
        os.remove(os.path.join(run, "checkpoint_0002.safetensors"))
        made.train(data, run, "--resume", "auto", "--max-steps", "0", "--tensorboard")
        found, compared = read(run), 0
        wanted = made.expected_scalars(check_page.read_lines(run)[0])
        assert set(found) == set(wanted), set(found) ^ set(wanted)
        for tag, values in wanted.items():
            assert [step for step, _ in found[tag]] == sorted(values), f"{tag}: steps {[step for step, _ in found[tag]]}"
            for step, value in found[tag]:
                assert made.same_scalar(tag, value, values[step]), f"{tag} at {step}: {value}"
                compared += 1
        assert compared > 140, compared
        print(f"tensorboard {__import__('tensorboard').__version__} reads the same {compared} scalars in {len(found)} tags")
    finally:
        shutil.rmtree(work)


main()
