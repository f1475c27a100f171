"""The simulated endstation behind PVs, as a beamline's IOCs have them (``hxn-ptycho ioc``).

Motor records, areaDetectors with their HDF5 plugins, a scaler record and a PandA: each in front of
the simulated device that computes and writes. Importing this needs caproto.
"""
