"""CUDA C, the device code of ``solver/cuda``: installed as package ``hxn_ptycho.kernels``."""
