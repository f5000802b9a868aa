"""A run folder of any number of candidates, made up quickly, to be labelled."""

import os
from dataclasses import fields

import numpy as np
from astropy.table import Table

from gmadet_nb.campaign.steps.products import write_difference
from gmadet_nb.files.images import Image, write_image
from gmadet_nb.files.rundir import RunDir
from gmadet_nb.imaging.psf import PSF
from gmadet_nb.imaging.quality import Quality
from gmadet_nb.imaging.subtract import Difference
from gmadet_nb.learning.cutouts import create_store, cut

_FWHM, _SCALE = 3.0, 2.0  # [pixel], [arcsec/pixel]
_NOISE, _STEP = 5.0, 30  # [adu], [pixel] between candidates
_INJECTED = 10  # every tenth candidate
_EXPOSURE = {
    "path": "",
    "extension": "auto",
    "prepared": "",
    "filter": "r",
    "gain": 2.0,
    "read_noise": 5.0,
    "saturation": 60000.0,
    "zero_point": 25.0,
    "pixel_scale": _SCALE,
    "fwhm": _FWHM,
    "used": True,
}


def make_run(path, *, n_candidates, n_exposures, size=32, seed=0):
    """Write what 06_label reads: the same field in each exposure, only brighter.

    Of each three candidates the first is a point source, the second a shifted star and
    the third a cosmic ray. Every tenth has been injected.

    Parameters
    ----------
    path : pathlib.Path
    n_candidates, n_exposures : int
        Candidates of all exposures together; each exposure has as many.
    size : int
        Side of the cutouts [pixel].
    seed : int

    Returns
    -------
    run : RunDir
    """
    rng, run = np.random.default_rng(seed), RunDir(path)
    n = n_candidates // n_exposures
    field = _make_field(n, rng)
    names = [f"night_{i:02d}" for i in range(n_exposures)]
    planes = _make_planes(field, rng)
    _write_frames(run, names, planes)
    pixels = cut(planes, field["x"], field["y"], size=size)[0]
    with create_store(run.cutouts_path, size=size) as writer:
        for k, name in enumerate(names):
            brighter = np.float32(1 + 0.1 * k)
            writer.append(_ids(name, n), name, pixels * brighter)
    exposures = Table({"exposure_id": names, "mjd": 60000.0 + np.arange(n_exposures)})
    for column, value in _EXPOSURE.items():
        exposures[column] = value
    run.write_table("exposures", exposures)
    run.write_table("candidates", _candidates(field, names, rng))
    run.write_table("crossmatch", _crossmatch(names, n))
    # By it a run is known as one with injected sources, whose images are `simulated`.
    run.write_table("simulated_objects", Table({"exposure_id": names}))
    return run


def _ids(exposure_id, n):
    return [f"{exposure_id}_c{i:05d}" for i in range(n)]


def _make_field(n, rng):
    """Return places on a grid and fluxes, the kinds in turn."""
    side = int(np.ceil(np.sqrt(n)))
    row, column = np.divmod(np.arange(n), side)
    shift = rng.uniform(-3, 3, (2, n))
    return Table(
        {
            "x": _STEP * (column + 1) + shift[0],
            "y": _STEP * (row + 1) + shift[1],
            "flux": rng.uniform(400, 4000, n),
            "kind": np.arange(n) % 3,
        }
    )


def _make_planes(field, rng):
    """Return science, reference and difference, (ny, nx) [adu], with all sources."""
    ny, nx = (int(field[name].max()) + _STEP for name in ("y", "x"))
    science, reference, difference = rng.normal(0, _NOISE, (3, ny, nx))
    y, x = np.mgrid[-9:10, -9:10]
    for source in field:
        j, i = round(source["x"]), round(source["y"])
        box = slice(i - 9, i + 10), slice(j - 9, j + 10)
        dx, dy = x - source["x"] + j, y - source["y"] + i
        star = source["flux"] * _profile(dx, dy)
        if source["kind"] == 2:
            star = np.zeros(x.shape)
            star[9, 9] = source["flux"] / 4
        before = source["flux"] * _profile(dx - 1, dy) * (source["kind"] == 1)
        science[box] += star
        reference[box] += before
        difference[box] += star - before
    science += 100.0
    return [plane.astype(np.float32) for plane in (science, reference, difference)]


def _profile(dx, dy):
    sigma = _FWHM / 2.355
    return np.exp(-(dx**2 + dy**2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)


def _write_frames(run, names, planes):
    """Write the frames of the first exposure; those of the others are links to them."""
    science, reference, data = planes
    mask = np.zeros(data.shape, np.uint8)
    kept = ("gain", "read_noise", "saturation", "zero_point", "filter")
    settings = {key: _EXPOSURE[key] for key in kept}
    image = Image(data=science, mask=mask, exposure_id=names[0], **settings)
    stamp = _profile(*np.mgrid[-9:10, -9:10])[None]
    difference = Difference(
        data=data,
        noise=np.full_like(data, _NOISE),
        mask=mask,
        reference=reference,
        psf=PSF(
            coefficients=stamp,
            oversampling=1,
            degree=0,
            shape=data.shape,
            n_stars=9,
        ),
        quality=Quality(**{figure.name: 1.0 for figure in fields(Quality)}),
        method="kernel",
        convolved="reference",
        n_stars=9,
        kernel_sum=1.0,
        kernel_sum_scatter=0.0,
    )
    write_image(run.simulated_path(names[0]), image)
    write_difference(run.difference_path(names[0]), difference, image.header)
    for name in names[1:]:
        for place in (run.simulated_path, run.difference_path):
            os.link(place(names[0]), place(name))


def _candidates(field, names, rng):
    n, m = len(field), len(names)
    brighter = np.repeat(1 + 0.1 * np.arange(m), n)
    flux = np.tile(field["flux"], m) * brighter
    table = Table(
        {
            "candidate_id": [key for name in names for key in _ids(name, n)],
            "exposure_id": np.repeat(names, n),
            "x": np.tile(field["x"], m),
            "y": np.tile(field["y"], m),
            "ra": 150 + np.tile(field["x"], m) * _SCALE / 3600,
            "dec": np.tile(field["y"], m) * _SCALE / 3600,
            "flux": flux,
            "flux_err": 20.0 + rng.exponential(5, n * m),
        }
    )
    table["snr"] = flux / table["flux_err"]
    table["mag"] = 25 - 2.5 * np.log10(flux)
    table["fwhm"], table["psf_fwhm"] = _FWHM * rng.uniform(0.5, 1.5, n * m), _FWHM
    table["psf_chi2"], table["elongation"] = rng.exponential(1, n * m), 1.1
    table["peak_to_flux"], table["reference_snr"] = 0.1, rng.normal(0, 1, n * m)
    return table


def _crossmatch(names, n):
    injected = np.arange(n * len(names)) % _INJECTED == 0
    return Table(
        {
            "candidate_id": [key for name in names for key in _ids(name, n)],
            "exposure_id": np.repeat(names, n),
            "source_id": np.where(injected, "s", ""),
            "match": np.where(injected, "matched", "unmatched"),
            "auto_label": np.where(injected, "real", ""),
            "auto_origin": np.where(injected, "injected", ""),
        }
    )
