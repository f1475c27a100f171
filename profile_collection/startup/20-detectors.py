"""Detectors, and the PandA that drives fly scans. The light on them is simulated."""

from hxn_ptycho.beamline import load_config
from hxn_ptycho.simulate.endstation import Endstation
from hxn_ptycho.simulate.merlin import Merlin
from hxn_ptycho.simulate.panda import PandA

# Beam, zone plate and sample; where the stages are decides what the detector sees.
endstation = Endstation(bragg=dcm.th, x=zpssx, y=zpssy, rotation=zpsth)

merlin1 = Merlin(
    "XF:03IDC-ES{Merlin:1}",
    name="merlin1",
    endstation=endstation,
    folder=home.data,
    pixels=128,
    distance_m=0.5,
)

encoders = load_config(home).motors
panda1 = PandA(
    "XF:03IDC-ES{PANDA:1}",
    name="panda1",
    endstation=endstation,
    encoders={
        stage: (encoders[stage.name].encoder, encoders[stage.name].scale_um)
        for stage in (zpssx, zpssy, zpssz)
    },
    folder=home.data,
)
