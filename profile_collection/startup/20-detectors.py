"""Detectors, and the flyers that drive fly scans.

The light on them is simulated; with HXN_PTYCHO_EPICS=1 they are what is behind the PVs at
hxn_ptycho.epics.prefixes, and there is one flyer, panda1.
"""

from hxn_ptycho.beamline import load_config

_motors = load_config(home).motors
_encoders = {
    stage: (_motors[stage.name].encoder, _motors[stage.name].scale_um)
    for stage in (zpssx, zpssy, zpssz)
}

if use_epics:
    from hxn_ptycho.epics.detector import AreaDetector
    from hxn_ptycho.epics.panda import PandA
    from hxn_ptycho.epics.scaler import Scaler

    # Files go to the folder as it is called here; their IOCs must see it under the same name.
    merlin1 = AreaDetector(prefixes.MERLIN, name="merlin1", folder=home.data, distance_m=0.5)
    eiger1 = AreaDetector(prefixes.EIGER, name="eiger1", folder=home.data, distance_m=2.05)
    sclr1 = Scaler(prefixes.SCALER, name="sclr1")  # of step scans
    panda1 = PandA(prefixes.PANDA, name="panda1", encoders=_encoders, folder=home.data)
    connect.connect(merlin1, eiger1, sclr1, panda1)
else:
    from hxn_ptycho.simulate.classic import ClassicFlyer
    from hxn_ptycho.simulate.eiger import Eiger
    from hxn_ptycho.simulate.endstation import Endstation
    from hxn_ptycho.simulate.faults import Faults
    from hxn_ptycho.simulate.merlin import Merlin
    from hxn_ptycho.simulate.panda import PandA
    from hxn_ptycho.simulate.scaler import Scaler
    from hxn_ptycho.simulate.streams import StreamFlyer
    from hxn_ptycho.simulate.zebra import ZebraFlyer

    # Beam, zone plate and sample; where the stages are decides what the detectors see.
    endstation = Endstation(bragg=dcm.th, x=zpssx, y=zpssy, rotation=zpsth)

    # merlin1.faults = Faults(beam_offset=(3, -5), orientation="rot90", hot=((10, 20),)): less ideal
    merlin1 = Merlin(
        "XF:03IDC-ES{Merlin:1}",
        name="merlin1",
        endstation=endstation,
        folder=home.data,
        pixels=128,
        distance_m=0.5,
    )
    eiger1 = Eiger(
        "XF:03IDC-ES{Eiger:1}",
        name="eiger1",
        endstation=endstation,
        folder=home.data,
        pixels=128,
        distance_m=2.05,
    )
    sclr1 = Scaler("XF:03IDC-ES{Sclr:1}", name="sclr1", endstation=endstation)  # of step scans

    # A flyer a form of scan documents; fly2d(..., flyer=classic1) runs another than the default.
    panda1 = PandA(
        "XF:03IDC-ES{PANDA:1}",
        name="panda1",
        endstation=endstation,
        encoders=_encoders,
        folder=home.data,
    )
    classic1 = ClassicFlyer(
        "XF:03IDC-ES{Classic:1}",
        name="classic1",
        endstation=endstation,
        registry=assets,
        position_scale={stage.name: _motors[stage.name].position_scale for stage in _encoders},
        folder=home.data,
    )
    zebra1 = ZebraFlyer(
        "XF:03IDC-ES{Zebra:1}", name="zebra1", endstation=endstation, folder=home.data
    )
    streams1 = StreamFlyer(
        "XF:03IDC-ES{PANDA:2}",
        name="streams1",
        endstation=endstation,
        encoders=_encoders,
        folder=home.data,
    )
