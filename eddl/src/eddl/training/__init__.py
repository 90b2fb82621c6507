"""What ties the rooms together: stores, steps, models, loops and checkpoints."""
