"""Stages and optics. Positions of stages are in micrometres, angles in degrees."""

from hxn_ptycho.simulate.stages import Monochromator, Stage

# Zone-plate microscope: sample stages on a rotation
zpssx = Stage(name="zpssx", egu="um", limits=(-15, 15))
zpssy = Stage(name="zpssy", egu="um", limits=(-15, 15))
zpssz = Stage(name="zpssz", egu="um", limits=(-15, 15))
zpsth = Stage(name="zpsth", egu="deg", limits=(-95, 95), speed=10)
dsth = Stage(name="dsth", egu="deg", limits=(-95, 95), speed=10)

dcm = Monochromator(name="dcm")  # dcm.th = 9.4831 degrees: 12 keV

baseline.baseline = [zpssx, zpssy, zpssz, zpsth, dsth, dcm]
