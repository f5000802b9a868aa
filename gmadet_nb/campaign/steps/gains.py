"""01: the gains that headers state, held against the noise of the whole night."""

import logging

import numpy as np

from gmadet_nb.imaging.photometry import choose_noise
from gmadet_nb.imaging.photon_transfer import fit_photon_transfer

logger = logging.getLogger(__name__)

# A gain is replaced where the night's own is this many times it, or one part in it,
# and known to so many standard deviations and so small a share of itself.
_DIFFERS, _SIGMA, _WORST_ERROR = 1.25, 4.0, 0.1


def check_gains(exposures):
    """Replace the gains that the night's own noise contradicts.

    Exposures whose headers state the same gain are one camera. A gain that was given
    as a parameter stands.

    Parameters
    ----------
    exposures : astropy.table.Table
        The exposures table.

    Returns
    -------
    exposures : astropy.table.Table
        A copy in which ``gain``, ``gain_source``, ``noise``, ``noise_model`` and
        ``limiting_mag`` follow the measured gain where it was taken.
    """
    checked = exposures.copy()
    for gain, line in photon_transfers(exposures):
        ratio = max(line.gain / gain, gain / line.gain)
        sure = line.gain_err < _WORST_ERROR * line.gain
        sure &= abs(line.gain - gain) > _SIGMA * line.gain_err
        if ratio < _DIFFERS or not sure:
            continue
        logger.warning(
            "The headers state a gain of %.3g electron/adu, and the noise of %d "
            "exposures says %.3g +- %.2g: the measured one is taken. Set the parameter "
            "'gain' to decide otherwise.",
            *(gain, line.n_exposures, line.gain, line.gain_err),
        )
        _replace(checked, _of_camera(exposures, gain), line)
    return checked


def photon_transfers(exposures):
    """Fit the photon transfer of each camera whose gain a header states.

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
        if line is not None:
            lines.append((float(gain), line))
    return lines


def _of_camera(exposures, gain):
    same = np.asarray(exposures["gain"], dtype=float) == gain
    return np.flatnonzero(same & (exposures["gain_source"] != "parameter"))


def _replace(exposures, rows, line):
    text = f"measured on {line.n_exposures} exposures, not"
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
