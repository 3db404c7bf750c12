"""One file, one source.  Nothing else lives here."""
