"""Balanced learning inside other code: estimators for scikit-learn, a PyTorch loop of your own, a LightningModule."""
