"""Make the pictures of the README from the figures of the demo runs.

Run it from the repository after ``make demo``: ``python docs/pictures.py``.
"""

from pathlib import Path

from PIL import Image

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


if __name__ == "__main__":
    main()
