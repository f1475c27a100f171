"""Stages and optics. Positions of stages are in micrometres, angles in degrees.

They are simulated; with HXN_PTYCHO_EPICS=1 they are motor records, at hxn_ptycho.epics.prefixes.
"""

import os

use_epics = os.environ.get("HXN_PTYCHO_EPICS", "0") not in ("", "0")

if use_epics:
    from ophyd.signal import EpicsSignalBase

    from hxn_ptycho.epics import connect, prefixes
    from hxn_ptycho.epics.motors import Monochromator, Stage

    connect.check_control_layer()
    EpicsSignalBase.set_defaults(timeout=10)  # s; a busy IOC may take more than ophyd's 2 to answer
    zpssx, zpssy, zpssz, zpsth, dsth = (
        Stage(prefixes.MOTORS[name], name=name)
        for name in ("zpssx", "zpssy", "zpssz", "zpsth", "dsth")
    )
    dcm = Monochromator(prefixes.MONOCHROMATOR, name="dcm")
    connect.connect(zpssx, zpssy, zpssz, zpsth, dsth, dcm)
else:
    from hxn_ptycho.simulate.stages import Monochromator, Stage

    # Zone-plate microscope: sample stages on a rotation
    zpssx = Stage(name="zpssx", egu="um", limits=(-15, 15))
    zpssy = Stage(name="zpssy", egu="um", limits=(-15, 15))
    zpssz = Stage(name="zpssz", egu="um", limits=(-15, 15))
    zpsth = Stage(name="zpsth", egu="deg", limits=(-95, 95), speed=10)
    dsth = Stage(name="dsth", egu="deg", limits=(-95, 95), speed=10)

    dcm = Monochromator(name="dcm")  # dcm.th = 9.4831 degrees: 12 keV

baseline.baseline = [zpssx, zpssy, zpssz, zpsth, dsth, dcm]
