"""A run folder as 01 to 04 leave it, small and made up, for the tests of the views."""

import numpy as np
from astropy.table import Table

from gmadet_nb.files.rundir import RunDir
from gmadet_nb.learning.cutouts import create_store


def make_run(path, *, n_exposures=2, n_injected=6, n_unmatched=6, size=16, seed=0):
    """Write a run folder: the first half of the candidates is injected and real."""
    rng = np.random.default_rng(seed)
    run = RunDir(path)
    ids = [f"night_{i:02d}" for i in range(n_exposures)]
    y, x = np.mgrid[:size, :size] - size // 2
    star = np.exp(-(x**2 + y**2) / (2 * 1.3**2))
    candidates, crossmatch, sources = [], [], []
    with create_store(run.cutouts_path, size=size) as writer:
        for exposure_id in ids:
            pixels = []
            names = [f"{exposure_id}_c{i:05d}" for i in range(n_injected + n_unmatched)]
            for i, name in enumerate(names):
                injected = i < n_injected
                snr = 10.0 + i
                place = rng.uniform(20, 180, 2)
                candidates.append(
                    (name, exposure_id, *place, 50 * snr, 50.0, snr, 19.0, 3.0, 3.0)
                )
                source = f"{exposure_id}_s{i:04d}" if injected else ""
                value = 1.0 if injected else np.nan
                crossmatch.append(
                    (
                        exposure_id,
                        source,
                        name,
                        "matched" if injected else "unmatched",
                        19.0 * value,
                        snr * value,
                        True,
                        False,
                        "real" if injected else "",
                        "injected" if injected else "",
                    )
                )
                if injected:
                    sources.append((source, exposure_id, *place, 19.0, 50 * snr))
                cutout = rng.normal(0, 5, (size, size, 3))
                if injected:
                    cutout[..., [0, 2]] += 20 * snr * star[..., None]
                else:
                    cutout[size // 2, size // 2, [0, 2]] += 20 * snr
                pixels.append(cutout)
            writer.append(names, exposure_id, np.array(pixels))
    exposures = Table({"exposure_id": ids, "fwhm": [3.0] * n_exposures})
    exposures["used"] = True
    run.write_table("exposures", exposures)
    names = "candidate_id exposure_id x y flux flux_err snr mag fwhm psf_fwhm"
    run.write_table("candidates", Table(rows=candidates, names=names.split()))
    names = (
        "exposure_id source_id candidate_id match mag difference_snr usable "
        "near_galaxy auto_label auto_origin"
    )
    run.write_table("crossmatch", Table(rows=crossmatch, names=names.split()))
    names = "source_id exposure_id x y mag flux"
    run.write_table("simulated_objects", Table(rows=sources, names=names.split()))
    return run
