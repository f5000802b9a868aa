"""The demo nights: two nights of a made-up telescope, with their truth beside them.

The frames have what real ones have: a PSF that varies, dithers, clouds, a sky
that is not flat, saturated stars that bleed, cosmic rays, hot pixels, bad
columns, a satellite, variable stars, minor planets and a dozen transients a
night that the notebooks do not know of. Nothing but tests and the last figure of
``10_check_inference`` reads the truth tables; ``known_objects.ecsv`` holds what
catalogues would tell of the variables and the minor planets.

Nothing in here uses the package's own photometry or PSF code, so that the rest
can be tested against it. Everything is drawn from one seed, each part from its
own stream ``default_rng([seed, part, ...])``: a change in one leaves the others.
"""

from gmadet_nb.campaign.demo.nights import DemoSummary, make_demo

__all__ = ["DemoSummary", "make_demo"]
