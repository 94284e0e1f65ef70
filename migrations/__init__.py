"""What schema `staging` is made of, as numbered SQL; and taking over an old warehouse."""
