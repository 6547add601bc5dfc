"""From rows to claims: transfer, savings, figures and the report, each with its interval."""
