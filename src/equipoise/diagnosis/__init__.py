"""Which modality carries what inside a trained model, which one starves, and what to do about it."""
