"""FedDyn at the client, the same for every framework (Acar et al. 2021, arXiv 2111.04263).

A local step adds α(w − x) − h_i to the gradient. After the round h_i⁺ = h_i − α(y − x). The server's rule of the same name, with
the same α, makes the other half.
"""

#: the client's h_i, kept for the next round; below out/ the new one
STATE = "state/feddyn.safetensors"
ALPHA = 0.01
