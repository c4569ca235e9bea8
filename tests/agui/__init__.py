"""AG-UI: runs over every driver, and what their events add up to."""
