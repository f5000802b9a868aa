"""The tools that observatories run, on the benchmarks' images, where they are there."""

import io
import resource
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from astropy.io import fits

from gmadet_nb.imaging.psf_psfex import PsfexModel

NAMES = {
    "sextractor": ("source-extractor", "sex"),
    "psfex": ("psfex",),
    "swarp": ("SWarp", "swarp"),
    "hotpants": ("hotpants",),
}
_COLUMNS = (
    "VIGNET(35,35)",
    *("X_IMAGE", "Y_IMAGE", "FLUX_RADIUS", "FLUX_APER(1)", "FLUXERR_APER(1)"),
    *("SNR_WIN", "ELONGATION", "FLAGS"),
)


def find(name):
    """Return the path of a tool, or None."""
    return next(filter(None, map(shutil.which, NAMES[name])), None)


def run(command, folder):
    """Run a tool and return its seconds of a core; its own words are lost."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def write(folder, name, data, wcs=None, header=()):
    """Write an image for a tool to read."""
    head = wcs.to_header(relax=True) if wcs is not None else fits.Header()
    head.update(dict(header))
    fits.writeto(Path(folder) / name, np.nan_to_num(data), head, overwrite=True)


def fit_psfex(image, stars, degree, *, keep=None):
    """Fit a PSF with PSFEx on given stars, picked from SExtractor's own catalogue.

    ``keep`` names where to leave a copy of PSFEx's file.

    Returns
    -------
    psf : PsfexModel
    seconds : float
        Of PSFEx alone.
    """
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write(folder, "a.fits", image.data)
        (folder / "a.param").write_text("\n".join(_COLUMNS) + "\n")
        run(
            [
                find("sextractor"),
                *("a.fits", "-c", "/dev/null", "-CATALOG_NAME", "a.cat"),
                *("-CATALOG_TYPE", "FITS_LDAC", "-PARAMETERS_NAME", "a.param"),
                *("-FILTER", "N", "-PHOT_APERTURES", "20", "-DETECT_THRESH", "5"),
                *("-GAIN", str(image.gain), "-SATUR_LEVEL", str(image.saturation)),
                *("-ANALYSIS_THRESH", "5", "-VERBOSE_TYPE", "QUIET"),
            ],
            folder,
        )
        _keep_stars(folder / "a.cat", stars)
        seconds = run(
            [
                find("psfex"),
                *("a.cat", "-c", "/dev/null", "-PSFVAR_DEGREES", str(degree)),
                *("-PSFVAR_KEYS", "X_IMAGE,Y_IMAGE", "-PSFVAR_GROUPS", "1,1"),
                *("-PSF_SIZE", "45,45", "-SAMPLE_AUTOSELECT", "N"),
                *("-SAMPLE_FWHMRANGE", "2,5", "-SAMPLE_MAXELLIP", "1"),
                *("-SAMPLE_MINSN", "1", "-CHECKPLOT_TYPE", "NONE"),
                *("-CHECKIMAGE_TYPE", "NONE", "-WRITE_XML", "N", "-NTHREADS", "1"),
                *("-VERBOSE_TYPE", "QUIET"),
            ],
            folder,
        )
        if keep is not None:
            shutil.copy(folder / "a.psf", keep)
        return PsfexModel(folder / "a.psf"), seconds


def _keep_stars(path, stars):
    """Leave only given stars in a catalogue; SExtractor counts pixels from 1.

    What stands before the rows is copied byte by byte: rewritten, the image's header
    would lose the blanks that pad its lines, and PSFEx dies of that.
    """
    with fits.open(path) as hdus:
        rows = hdus[2].data
        distance = np.hypot(
            rows["X_IMAGE"][:, None] - 1 - np.asarray(stars["x"]),
            rows["Y_IMAGE"][:, None] - 1 - np.asarray(stars["y"]),
        ).min(axis=1)
        before = path.read_bytes()[: _start(hdus[2])]
        table = fits.BinTableHDU(rows[distance < 1], hdus[2].header)
        held = io.BytesIO()
        fits.HDUList([fits.PrimaryHDU(), table]).writeto(held)
    held.seek(0)
    with fits.open(held) as hdus:
        path.write_bytes(before + held.getvalue()[_start(hdus[1]) :])


def _start(hdu):
    """Return the byte of its file at which an HDU begins."""
    return hdu.fileinfo()["hdrLoc"]
