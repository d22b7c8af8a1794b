"""The score card: the whole pipeline on held-out simulations, beside two baselines."""
