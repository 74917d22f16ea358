"""What Windows CSPs mean: LocURIs, the Update tree, a typed snapshot, and the plan from desired to commands."""
