"""Fly scans: RE(fly2d([merlin1], zpssx, -1, 1, 30, zpssy, -1, 1, 30, 0.01))."""

from hxn_ptycho.simulate.plans import fly2d, fly2dpd, set_default_flyer

set_default_flyer(panda1)
