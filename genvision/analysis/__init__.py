"""Studies: one question of the articles each, answered from trained or untrained networks that are never changed."""
