"""How a function is computed fast: one program per function, and kernels that run it."""
