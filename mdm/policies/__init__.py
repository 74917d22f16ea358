"""Policy profiles: what IT wants of `Policy/Config/Update`, what follows for each device, and what devices say to it."""
