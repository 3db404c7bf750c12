"""The version of the code, as it is written into archives, ledgers and data sets."""

VERSION = "0.1.0"
