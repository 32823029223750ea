"""IntroVAE (Huang et al. 2018): a model and how it is trained."""

__version__ = "0.1.0"
