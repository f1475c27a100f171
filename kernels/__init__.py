"""CUDA C, the device code of ``hxn_ptycho.solver.cuda``: installed as package ``hxn_ptycho.kernels``."""
