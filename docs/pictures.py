"""Make the pictures of the README from the runs of the demo and of real frames.

Run it from the repository after ``make demo``: ``python docs/pictures.py``. The picture
of real frames is made anew where ``make real`` has run, and stays as it is elsewhere.
"""

from pathlib import Path

import matplotlib.pyplot as plt
from PIL import Image

from gmadet_nb.campaign.steps.products import open_science, read_difference, row_of
from gmadet_nb.files.rundir import RunDir
from gmadet_nb.views import plots

DOCS = Path(__file__).resolve().parent
RUNS = DOCS.parent / "runs"
WIDTH, HEIGHT = 320, 200  # [pixel] of a thumbnail
OVERVIEW = "demo_apply/figures/10_top.png"
THUMBNAILS = {
    "01": "demo/figures/01_psf.png",
    "02": "demo/figures/02_before_after.png",
    "03": "demo/figures/03_difference.png",
    "04": "demo/figures/04_cutouts.png",
    "05": "demo/figures/05_completeness.png",
    "06": "demo/figures/06_bogus.png",
    "07": "demo/figures/07_parts.png",
    "08": "demo/figures/08_history.png",
    "09": "demo/figures/09_scores.png",
    "10": "demo_apply/figures/10_truth_ranks.png",
}

# Run, exposure, and what the title says of it.
REAL_FRAMES = (
    ("tres1", "tres1-110", "6-inch refractor, raw frame"),
    ("saao_kb13475", "AKB13475I0051", "1 m telescope, crowded bulge"),
)
SIDE = 240  # [pixel] of the part of a real frame that is shown


def real_frame(run, exposure_id, title, *, axes):
    """Show a part of a real exposure before and after, injected sources circled."""
    exposure = row_of(run.read_table("exposures"), exposure_id)
    science = open_science(run, exposure, "train")
    difference = read_difference(run.difference_path(exposure_id))
    ny, nx = science.data.shape
    left, low = (nx - SIDE) // 2, (ny - SIDE) // 2
    box = slice(low, low + SIDE), slice(left, left + SIDE)
    planes = science.data[box], difference.reference[box], difference.data[box]
    plots.triplet(*planes, axes=axes)
    sources = run.read_table("simulated_objects")
    sources = sources[(sources["exposure_id"] == exposure_id) & sources["injected"]]
    x, y = sources["x"] - left, sources["y"] - low
    inside = (x > 0) & (x < SIDE - 1) & (y > 0) & (y < SIDE - 1)
    for ax in (axes[0], axes[2]):
        ax.scatter(
            x[inside], y[inside], s=130, facecolors="none", edgecolors="tab:orange"
        )
    for ax in axes:
        ax.set(xlabel="", ylabel="", xticks=[], yticks=[])
    axes[0].set_ylabel(title)


def real_picture():
    """Draw the real frames whose runs are there, or return None."""
    found = [
        (run, exposure_id, title)
        for run, exposure_id, title in (
            (RunDir(RUNS / name), *rest) for name, *rest in REAL_FRAMES
        )
        if run.difference_path(exposure_id).is_file()
    ]
    if len(found) < len(REAL_FRAMES):
        return None
    fig, axes = plt.subplots(len(found), 3, figsize=(10.5, 7.2), layout="constrained")
    for frame, row in zip(found, axes, strict=True):
        real_frame(*frame, axes=row)
    for ax in axes[1:].flat:
        ax.set_title("")
    return fig


def thumbnail(path):
    """Return a figure shrunk to the width, its top where it is too high."""
    image = Image.open(path).convert("RGB")
    height = round(image.height * WIDTH / image.width)
    image = image.resize((WIDTH, height), Image.Resampling.LANCZOS)
    return image.crop((0, 0, WIDTH, min(height, HEIGHT)))


def main():
    """Write the overview and the thumbnails."""
    (DOCS / "thumbnails").mkdir(exist_ok=True)
    for name, figure in THUMBNAILS.items():
        small = thumbnail(RUNS / figure).quantize(64)
        small.save(DOCS / "thumbnails" / f"{name}.png", optimize=True)
    overview = Image.open(RUNS / OVERVIEW).convert("RGB")
    overview.thumbnail((1000, 1000))
    overview.quantize(128).save(DOCS / "overview.png", optimize=True)
    plots.use_style()
    fig = real_picture()
    if fig is not None:
        fig.savefig(DOCS / "real.png", dpi=95)
        Image.open(DOCS / "real.png").convert("RGB").quantize(128).save(
            DOCS / "real.png", optimize=True
        )


if __name__ == "__main__":
    main()
