"""Units, randomness, likelihoods and noise paths: the mathematics shared by all families."""
