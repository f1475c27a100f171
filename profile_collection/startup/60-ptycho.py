"""Every ptychography scan is reconstructed as soon as it has ended."""

from hxn_ptycho import AutoReconstruct, results  # results(scan_id=1)[-1].plot()

# What to compute: keys of hxn_ptycho.Recipe, or the path of a TOML file. A plan's
# md={"ptycho": {...}} goes before it, for that scan.
recipe = {
    "probe_modes": 3,  # the beam moves while a frame is exposed
    "algorithm": "RAAR",  # settles on noisy frames, where the difference map ("DM") hovers
    "iterations": 50,
    "probe": "zone-plate",
    "zone_plate": {
        "diameter": 160e-6,
        "outer_zone_width": 40e-9,
        "central_stop": 60e-6,
        "defocus": 116e-6,
    },
}

ptycho = AutoReconstruct(catalogs, recipe)
RE.subscribe(ptycho)
ptycho.show()  # progress below the prompt; ptycho.wait() waits for all that is queued
