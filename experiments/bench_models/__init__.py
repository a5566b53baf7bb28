"""Every model beside its rivals, on fixed protocols, forward in time: `make bench-models`."""
