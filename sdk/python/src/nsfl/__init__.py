"""Short name of `neursafe_fl`."""
