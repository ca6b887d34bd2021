"""The two ends between which Flower carries letters."""
