"""seglib: reproducible benchmarks of semantic segmentation."""

__version__ = "0.1.0"
