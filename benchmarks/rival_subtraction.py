"""HOTPANTS and sfft on the benchmarks' pairs, where they can be had.

HOTPANTS is a binary on the path, tuned as its authors advise: Gaussians from the two
FWHMs, -ko 2, -bgo 2. sfft is a package that wants other versions than this project's:
it gets an environment of its own, made at the first call, in ``.bench_env``.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from astropy.io import fits

from benchmarks import rivals

SFFT = "sfft==1.7.3"
ENVIRONMENT = Path(".bench_env")
# On a small part first, so that compiling is not timed.
_SFFT_CALL = """
import sys, time
import numpy as np
from astropy.io import fits
from sfft.CustomizedPacket import Customized_Packet
from sfft.utils.SFFTSolutionReader import Realize_MatchingKernel
def run(start):
    names = [f"{start}{name}.fits" for name in ("r", "s", "mr", "ms", "d", "k")]
    Customized_Packet.CP(
        *names[:4], "REF", int(sys.argv[1]), names[4], names[5], KerPolyOrder=2,
        BGPolyOrder=2, ConstPhotRatio=True, BACKEND_4SUBTRACT="Numpy",
        NUM_CPU_THREADS_4SUBTRACT=1, VERBOSE_LEVEL=0)
run("small_")
start = time.process_time()
run("")
print("seconds", time.process_time() - start)
side = fits.getdata("d.fits").shape[0]
middle = Realize_MatchingKernel(np.array([[side / 2, side / 2]])).FromFITS("k.fits")
np.save("kernel.npy", middle[0].T)
"""
_SMALL = 512  # [pixel]


def hotpants(pair, fwhms):
    """Subtract by HOTPANTS.

    Returns
    -------
    difference, noise : (ny, nx) arrays
        [adu]; the noise is NaN where it makes no difference.
    seconds : float
    """
    science, reference = pair.science, pair.reference
    sigma = [w / 2.3548 for w in fwhms]
    match = np.sqrt(max(sigma[0] ** 2 - sigma[1] ** 2, 0.25))
    gaussians = ("3", "6", str(0.5 * match), "4", str(match), "2", str(2 * match))
    with tempfile.TemporaryDirectory() as folder:
        rivals.write(folder, "s.fits", science.data)
        rivals.write(folder, "r.fits", reference.data)
        seconds = rivals.run(
            [
                *(rivals.find("hotpants"), "-inim", "s.fits", "-tmplim", "r.fits"),
                *("-outim", "d.fits", "-oni", "n.fits", "-c", "t", "-n", "i"),
                *("-ng", *gaussians, "-ko", "2", "-bgo", "2"),
                *("-r", str(int(2.5 * fwhms[0])), "-rss", str(int(6 * fwhms[0]))),
                *("-iu", str(0.95 * science.saturation), "-il", "1"),
                *("-tu", str(0.95 * reference.saturation), "-tl", "1"),
                *("-ig", str(science.gain), "-tg", str(reference.gain)),
                *("-ir", str(science.read_noise), "-tr", str(reference.read_noise)),
            ],
            folder,
        )
        noise = _read(folder, "n.fits")
        noise[~(noise > 0)] = np.nan
        return _read(folder, "d.fits"), noise, seconds


def sfft(pair, fwhms, levels):
    """Subtract by sfft's Numpy backend; None where it cannot be installed or run.

    Returns
    -------
    difference : (ny, nx) array
        [adu]
    kernel : (k, k) array
        What the reference was convolved with at the middle of the field.
    seconds : float
        Of a second call, when all is compiled.
    """
    python = _sfft_python()
    if python is None:
        return None
    images = [
        np.nan_to_num(image.data) - level
        for image, level in zip((pair.science, pair.reference), levels, strict=True)
    ]
    near = _around_stars(pair, round(3 * fwhms[0]))
    small = slice(_SMALL), slice(_SMALL)
    with tempfile.TemporaryDirectory() as folder:
        for name, image in zip("sr", images, strict=True):
            for start, part in (("", ...), ("small_", small)):
                rivals.write(folder, f"{start}{name}.fits", image[part])
                fitted = np.where(near, image, 0)[part]
                rivals.write(folder, f"{start}m{name}.fits", fitted)
        half = str(int(np.ceil(2 * fwhms[0])))
        done = subprocess.run(
            [python, "-c", _SFFT_CALL, half],
            cwd=folder,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            return None
        kernel = np.load(Path(folder) / "kernel.npy")
        seconds = float(done.stdout.split("seconds")[1])
        return _read(folder, "d.fits"), kernel, seconds


def _around_stars(pair, half):
    """Mark the surroundings of good stars that no bad pixel and no ray has touched."""
    ny, nx = pair.science.data.shape
    bad = ((pair.science.mask | pair.reference.mask) > 0) | pair.rays
    near = np.zeros((ny, nx), dtype=bool)
    for x, y, flux in pair.stars.iterrows("x", "y", "flux"):
        row, column = round(float(y)), round(float(x))
        inside = half <= row < ny - half and half <= column < nx - half
        box = (
            slice(max(row - half, 0), max(row + half + 1, 0)),
            slice(max(column - half, 0), max(column + half + 1, 0)),
        )
        if inside and flux > 5e3 and not bad[box].any():
            near[box] = True
    return near


def _sfft_python():
    """Return the interpreter of sfft's own environment, made where it is missing."""
    python = ENVIRONMENT / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
    has = [str(python), "-c", "import sfft.CustomizedPacket"]
    if subprocess.run(has, capture_output=True).returncode == 0:
        return str(python.absolute())
    install = [str(python), "-m", "pip", "install", "-q", SFFT]
    if subprocess.run(install, capture_output=True).returncode:
        return None
    ok = subprocess.run(has, capture_output=True).returncode == 0
    return str(python.absolute()) if ok else None


def _read(folder, name):
    return fits.getdata(Path(folder) / name).astype(np.float32)
