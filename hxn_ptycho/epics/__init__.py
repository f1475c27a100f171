"""The endstation as EPICS has it: ophyd devices that speak PVs, for a profile at a beamline.

They know nothing of what is simulated: behind the PVs may be motors and detectors, or the
simulated ones of ``hxn-ptycho ioc``.
"""
