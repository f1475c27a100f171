"""Scans in two dimensions. The default flyer's, another's, and steps:

RE(fly2d([merlin1], zpssx, -1, 1, 30, zpssy, -1, 1, 30, 0.01))
RE(fly2d([merlin1], zpssx, -1, 1, 30, zpssy, -1, 1, 30, 0.01, fly_type="pyramid", flyer=classic1))
RE(scan_and_fly([merlin1], -1, 1, 30, -1, 1, 30, 0.01, flying_zebra=zebra1))
RE(bp.rel_spiral_fermat([merlin1, sclr1], zpssx, zpssy, 2, 2, 0.06, 1))
"""

import bluesky.plans as bp

from hxn_ptycho.fly.plans import fly2d, fly2dpd, scan_and_fly, set_default_flyer

set_default_flyer(panda1)
