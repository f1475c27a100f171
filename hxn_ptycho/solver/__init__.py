"""The MPI program: ``mpiexec -n R python -m hxn_ptycho.solver JOB_FOLDER``.

It knows nothing of the rooms above it, nor of bluesky, databroker, pydantic or a catalog.
"""
