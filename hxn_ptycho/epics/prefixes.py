"""Where the PVs are: all prefixes, in one place. A beamline has its own."""

MOTORS = {
    "zpssx": "XF:03IDC-ES{ZpSS:1-Ax:X}Mtr",
    "zpssy": "XF:03IDC-ES{ZpSS:1-Ax:Y}Mtr",
    "zpssz": "XF:03IDC-ES{ZpSS:1-Ax:Z}Mtr",
    "zpsth": "XF:03IDC-ES{ZpSS:1-Ax:Th}Mtr",
    "dsth": "XF:03IDC-ES{Ds:1-Ax:Th}Mtr",
}
MONOCHROMATOR = "XF:03IDA-OP{Mon:1-Ax:"  # Bragg}Mtr
MERLIN = "XF:03IDC-ES{Merlin:1}"
EIGER = "XF:03IDC-ES{Eiger:1}"
SCALER = "XF:03IDC-ES{Sclr:1}"
PANDA = "XF:03IDC-ES{PANDA:1}"
