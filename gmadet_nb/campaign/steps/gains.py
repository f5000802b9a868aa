"""01: the gains that headers state, held against the noise of the whole night."""

import logging

import numpy as np

from gmadet_nb.files.images import open_exposure
from gmadet_nb.imaging.photometry import choose_noise
from gmadet_nb.imaging.photon_transfer import difference_noise, fit_photon_transfer

logger = logging.getLogger(__name__)

# A gain is replaced where the night's own is so many times it, or one part in it, and
# one right one in a thousand would be, too, were it not for the first.
_DIFFERS, _CONFIDENCE = 1.25, 0.999
_MOST_PAIRS = 20


def photon_transfers(exposures):
    """Fit the photon transfer of each camera whose gain a header states.

    Where the noise within the exposures contradicts the header, they are read again
    and the fit is that of differences of exposures, in which a wrong flat field
    cancels; images that were resampled tell nothing of a gain, and give no line.

    Parameters
    ----------
    exposures : astropy.table.Table
        The exposures table; exposures that state the same gain are one camera.

    Returns
    -------
    lines : list of (float, PhotonTransfer)
        The gain that is stated [electron/adu], and the fit.
    """
    stated = exposures[exposures["used"] & (exposures["gain_source"] != "parameter")]
    lines = []
    for gain in np.unique(np.asarray(stated["gain"], dtype=float)):
        same = stated[np.asarray(stated["gain"]) == gain]
        line = fit_photon_transfer(
            same["sky_level"], np.asarray(same["pixel_noise"]) ** 2
        )
        # Where gain and read noise explain the noise there is nothing to look into.
        if line is not None and np.mean(same["noise_model"] == "measured") > 0.5:
            line = _fit_differences(same) if _contradicts(line, gain) else line
        if line is not None:
            lines.append((float(gain), line))
    return lines


def _contradicts(line, gain):
    ratio = max(line.gain / gain, gain / line.gain)
    return ratio >= _DIFFERS and line.differs_from(gain, confidence=_CONFIDENCE)


def _fit_differences(exposures):
    """Fit the noise of differences of exposures; None where it tells nothing."""
    step = max(1, -(-(len(exposures) - 1) // _MOST_PAIRS))
    found = []
    for i in range(0, len(exposures) - 1, step):
        pair = [open_exposure(exposures[k]) for k in (i, i + 1)]
        if pair[0].data.shape == pair[1].data.shape:
            found.append(difference_noise(*pair))
    if not found or np.mean([independent for *_, independent in found]) < 0.5:
        return None
    levels, variances, _ = zip(*found, strict=True)
    return fit_photon_transfer(levels, variances)


def check_gains(exposures, lines):
    """Replace the gains that the night's own noise contradicts.

    A gain that was given as a parameter stands, and so does one by which the noise of
    most exposures is explained.

    Parameters
    ----------
    exposures : astropy.table.Table
        The exposures table.
    lines : list of (float, PhotonTransfer)
        From `photon_transfers`.

    Returns
    -------
    exposures : astropy.table.Table
        A copy in which ``gain``, ``gain_source``, ``noise``, ``noise_model`` and
        ``limiting_mag`` follow the measured gain where it was taken.
    """
    checked = exposures.copy()
    for gain, line in lines:
        rows = _of_camera(exposures, gain)
        used = exposures[rows][exposures["used"][rows]]
        explained = np.mean(used["noise_model"] == "photons") >= 0.5
        if explained or not _contradicts(line, gain):
            continue
        logger.warning(
            "The headers state a gain of %.3g electron/adu, and the noise of %d pairs "
            "of exposures says %.3g +- %.2g: the measured one is taken. Set 'gain' to "
            "decide otherwise, and 'reference_gain' for a reference of this camera.",
            *(gain, line.n_exposures, line.gain, line.gain_err),
        )
        _replace(checked, rows, line)
    return checked


def _of_camera(exposures, gain):
    same = np.asarray(exposures["gain"], dtype=float) == gain
    return np.flatnonzero(same & (exposures["gain_source"] != "parameter"))


def _replace(exposures, rows, line):
    text = f"measured on {line.n_exposures} pairs of exposures, not"
    sources = exposures["gain_source"].astype(object)
    models = exposures["noise_model"].astype(object)
    for i in rows:
        exposures["gain"][i] = line.gain
        sources[i] = f"{text} {sources[i]}"
        if not exposures["used"][i]:
            continue
        noise = choose_noise(
            float(exposures["pixel_noise"][i]),
            float(exposures["sky_level"][i]),
            gain=line.gain,
            read_noise=float(exposures["read_noise"][i]),
        )
        deeper = exposures["noise"][i] / np.sqrt(noise.sky_variance)
        exposures["noise"][i] /= deeper
        exposures["limiting_mag"][i] += 2.5 * np.log10(deeper)
        models[i] = noise.model
    exposures["gain_source"] = sources.astype(str)
    exposures["noise_model"] = models.astype(str)
