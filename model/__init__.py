"""THE LEARNER: the UFVideo model, from stream to checkpoint."""
