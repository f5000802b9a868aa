"""A real/bogus classifier of your own telescope's transient candidates."""

__version__ = "0.1.0"
