"""The numbered SQL of schema `staging`, the accounts, and the takeover of old warehouses."""
