"""Scores, likelihoods, result records and the leaderboard. Reads trained families and images, never changes them."""
