"""Which layer of which pretrained speech model carries the emotion, and is fine-tuning worth its price?"""

__version__ = "0.1.0"
