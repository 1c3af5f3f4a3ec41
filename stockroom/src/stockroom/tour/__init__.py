"""The guided tour: the eight promises, with two devices and a real server, each one checked."""
