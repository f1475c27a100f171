"""The CUDA device: PyCUDA drives the kernels of ``kernels/``; cuFFT, through scikit-cuda, the rest.

``backend.CudaBackend`` is what the solver asks for; ``gpu`` holds the context, memory and kernels;
``fused`` and ``plain`` keep the exit waves; ``device`` is the `Device` that drives either.
"""
