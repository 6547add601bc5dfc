"""Which runs to do, in what order, and where: studies, search, transfer, plan, execution."""
